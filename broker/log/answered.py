"""What the log answers for in bytes that a witness refuses, however malformed the rest of them is.

A request is refused at the first thing that is wrong with it. A log that signed two trees would
only have to spoil something else for nothing to be kept: so one line of the log's that verifies
over a checkpoint of its own is enough.

Whoever sends the bytes chooses them: so a block without the log's name costs no more than being
passed over, and of those with it only so many are looked at as a note may have signatures.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import MAX_PROOF_HASHES
from broker.log.note import MAX_NOTE_BYTES, MAX_SIGNATURES, Note, SignatureLine, parse_line
from broker.log.notekeys import VKey

MAX_LOOKED_AT_BYTES: Final = MAX_NOTE_BYTES + 45 * MAX_PROOF_HASHES + 64  # a request has no more


def answered_for(raw: bytes, keys: Sequence[VKey]) -> Note | None:
    """Return a checkpoint of the log under those of its signatures that verify; None if none does.

    Args:
        raw: Whatever came, not trusted.
        keys: Of the one log, under its one name.
    """
    text = "\n" + raw[:MAX_LOOKED_AT_BYTES].decode("utf-8", "replace")
    left = MAX_SIGNATURES  # lines to look at, of all blocks; a block without any counts as one
    for origin in {key.name for key in keys}:
        for signed, behind in _named(text, origin):
            if left <= 0:
                return None
            rows = behind.split("\n")[:left] if _is_checkpoint(signed) else ()
            left -= max(1, len(rows))
            if lines := _verified(signed, rows, keys):
                return Note(signed, lines)
    return None


def _named(text: str, origin: str) -> Iterator[tuple[str, str]]:
    """Yield each block from its last line that is `origin` on, and the block behind it.

    Args:
        text: Blocks, with empty lines between them, and a line feed before the first.
        origin: Of the log.
    """
    line = f"\n{origin}\n"
    at = text.find(line)
    while at >= 0:
        end = text.find("\n\n", at + len(line) - 1)
        if end < 0:
            return
        begin = max(at, text.rfind(line, at, end))
        after = text.find("\n\n", end + 2)
        yield text[begin + 1 : end + 1], text[end + 2 : after if after >= 0 else len(text)]
        at = text.find(line, end + 1)


def _is_checkpoint(text: str) -> bool:
    try:
        parse_checkpoint(text)
    except LogError:
        return False
    return True


def _verified(text: str, rows: Sequence[str], keys: Sequence[VKey]) -> tuple[SignatureLine, ...]:
    """Return the first line of each key that verifies."""
    found: dict[VKey, SignatureLine] = {}
    for row in rows:
        try:
            line = parse_line(row)
        except LogError:
            continue
        for key in keys:
            if key.matches(line) and key not in found and _verifies(key, text, line):
                found[key] = line
    return tuple(found.values())


def _verifies(key: VKey, text: str, line: SignatureLine) -> bool:
    try:
        key.verify(text, line)
    except LogError:
        return False
    return True
