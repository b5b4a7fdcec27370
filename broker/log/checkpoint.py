"""What a log says of itself: its name, how many leaves, which root. Source: C2SP tlog-checkpoint.

<origin> LF <size> LF base64(root) LF, then extension lines, of which ours has none
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.line import read_base64, read_number, write_base64
from broker.log.merkle import EMPTY_ROOT, check_hashes, check_size
from broker.log.note import Note, SignatureLine, check_text

_CODE: Final = "bad-checkpoint"
_FIXED_LINES: Final = 3


@dataclass(frozen=True)
class Checkpoint:
    """A tree head. Parsing one authenticates nothing: the note around it does.

    Attributes:
        origin: Name of the log, not empty; other people's may have spaces in it.
        size: Number of leaves.
        root: Root hash of the tree of that size.
        extensions: Further lines. A type 0x06 or 0x05 signature does not cover them: we make none
            under any, and never read them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would not be read back as it is."""
        lines = (self.origin, *self.extensions)
        text = "\n".join((*lines, ""))
        if text.count("\n") != len(lines) or "\n\n" in f"\n{text}":  # of 100,000 lines, perhaps
            raise LogError(_CODE, "an empty line in a checkpoint, or two lines in one")
        check_text(text)
        check_size(self.size)
        check_hashes((self.root,))

    def to_text(self) -> str:
        """Return the text that a note of this checkpoint carries."""
        lines = (self.origin, str(self.size), write_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    def signed(self, lines: Sequence[SignatureLine]) -> Note:
        """Return the note with these signatures."""
        return Note(self.to_text(), tuple(lines))

    def check_empty_root(self) -> None:
        """Return unless this claims a root for no leaves at all.

        Not a part of parsing: a witness must answer to the one and to the other differently.

        Raises:
            LogError: `bad-empty-root`.
        """
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise LogError("bad-empty-root", "the root of an empty tree is the hash of nothing")


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that the text of a note is.

    Raises:
        LogError: `bad-checkpoint`; `bad-note` for a character that no note may have; `bad-hash`
            for a root of another length.
    """
    *lines, rest = text.split("\n")
    if rest or len(lines) < _FIXED_LINES:
        raise LogError(_CODE, "a checkpoint has three lines or more")
    origin, size, root, *extensions = lines
    return Checkpoint(
        origin,
        read_number(size, code=_CODE),
        read_base64(root, code=_CODE),
        tuple(extensions),
    )
