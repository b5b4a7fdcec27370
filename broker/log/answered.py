"""What the log answers for in bytes that a witness refuses, however malformed the rest of them is.

A request is refused at the first thing that is wrong with it. A log that signed two trees would
only have to spoil something else for nothing to be kept: so one line of the log's that verifies
over a checkpoint of its own is enough.
"""

from collections.abc import Sequence
from itertools import pairwise
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
    blocks = raw[:MAX_LOOKED_AT_BYTES].decode("utf-8", "replace").split("\n\n")
    left = MAX_SIGNATURES  # lines to look at, of all blocks together
    for origin in {key.name for key in keys}:
        for before, behind in pairwise(blocks):
            text = _checkpoint_at_the_end(before, origin)
            if text is None:
                continue
            rows = behind.split("\n")[:left]
            left -= len(rows)
            if lines := _verified(text, rows, keys):
                return Note(text, lines)
    return None


def _checkpoint_at_the_end(block: str, origin: str) -> str | None:
    _, found, rest = f"\n{block}".rpartition(f"\n{origin}\n")
    text = f"{origin}\n{rest}\n"
    try:
        parse_checkpoint(text)
    except LogError:
        return None
    return text if found else None


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
