"""Signed notes as text: a text, an empty line, signature lines. Source: C2SP signed-note v1.0.0.

    <text, ends with LF> LF
    "— " <key name> " " base64(u32 key id || signature) LF       once or more

Nothing here is authenticated: who signed is for `broker.log.notekeys` to say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from broker.log.errors import LogError
from broker.log.line import read_base64, read_loose_base64, write_base64

MAX_NOTE_BYTES: Final = 1_000_000  # as in Go's golang.org/x/mod/sumdb/note
MAX_SIGNATURES: Final = 100  # likewise; the specification demands at least 16
KEY_ID_BYTES: Final = 4
_MARK: Final = "\N{EM DASH} "
_CODE: Final = "bad-note"
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")  # one search: a text may have a megabyte


@dataclass(frozen=True)
class SignatureLine:
    """One signature line. Any of it may be a lie until a key of that name and id verified it.

    Attributes:
        name: Name of the key.
        encoded: The Base64 as received, so that the note can be passed on byte for byte.
    """

    name: str
    encoded: str

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a note."""
        check_key_name(self.name, code=_CODE)
        if len(read_loose_base64(self.encoded, code=_CODE)) <= KEY_ID_BYTES:
            raise LogError(_CODE, "a signature line without a signature")

    @classmethod
    def of(cls, name: str, key_id: int, body: bytes) -> Self:
        """Return the line for what a key signed."""
        return cls(name, write_base64(key_id.to_bytes(KEY_ID_BYTES, "big") + body))

    @property
    def key_id(self) -> int:
        """Which of the keys of that name."""
        return int.from_bytes(self._raw()[:KEY_ID_BYTES], "big")

    def body(self) -> bytes:
        """Return what follows the key id.

        Raises:
            LogError: `bad-signature`: another spelling of these bytes, which we let nobody verify,
                lest one signed note had many forms.
        """
        return read_base64(self.encoded, code="bad-signature")[KEY_ID_BYTES:]

    def to_text(self) -> str:
        """Return the line with its LF."""
        return f"{_MARK}{self.name} {self.encoded}\n"

    def _raw(self) -> bytes:
        return read_loose_base64(self.encoded, code=_CODE)


@dataclass(frozen=True)
class Note:
    """A well-formed note, of which nothing is verified.

    Attributes:
        text: What is signed, with its last LF.
        signatures: At least one, in the order received, repetitions included.
    """

    text: str
    signatures: tuple[SignatureLine, ...]

    def __post_init__(self) -> None:
        """Refuse what would not be read back as it is."""
        check_text(self.text)
        if not 0 < len(self.signatures) <= MAX_SIGNATURES:
            raise LogError(_CODE, f"a note has from 1 to {MAX_SIGNATURES} signatures")
        if len(self.to_bytes()) > MAX_NOTE_BYTES:
            raise LogError(_CODE, f"a note has at most {MAX_NOTE_BYTES} bytes")

    def to_bytes(self) -> bytes:
        """Return the note as it travels."""
        return f"{self.text}\n{''.join(line.to_text() for line in self.signatures)}".encode()

    def signed_also(self, lines: Sequence[SignatureLine]) -> "Note":
        """Return the note with these lines behind its own; those it has already are left out."""
        new = tuple(line for line in dict.fromkeys(lines) if line not in self.signatures)
        return Note(self.text, self.signatures + new)


def parse_note(raw: bytes) -> Note:
    """Return the note that `raw` is; nothing in it is authenticated yet.

    Raises:
        LogError: `bad-note`.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise LogError(_CODE, f"a note has at most {MAX_NOTE_BYTES} bytes")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise LogError(_CODE, "a note is UTF-8") from None
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise LogError(_CODE, "no empty line, or nothing that ends in a line feed behind it")
    rows = lines[:-1].split("\n", MAX_SIGNATURES)
    return Note(f"{text}\n", tuple(parse_line(row) for row in rows))


def check_text(text: str) -> None:
    """Return if `text` can be the text of a note.

    Raises:
        LogError: `bad-note`.
    """
    if not text.endswith("\n"):
        raise LogError(_CODE, "the text of a note ends with a line feed")
    if _CONTROL.search(text):
        raise LogError(_CODE, "a note has no control character but the line feed")
    check_unicode(text, code=_CODE)


def check_key_name(name: str, *, code: str) -> None:
    """Return if `name` can name a key: not empty, no space of any kind, no '+', no control.

    Raises:
        LogError: `code`.
    """
    if not name or any(char.isspace() or char < " " or char == "+" for char in name):
        raise LogError(code, "the name of a key is empty or has a space, control or '+' in it")
    check_unicode(name, code=code)


def check_unicode(text: str, *, code: str) -> None:
    """Return if UTF-8 can carry `text`.

    Raises:
        LogError: `code`.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LogError(code, "a lone surrogate, which UTF-8 cannot carry") from None


def parse_line(row: str) -> SignatureLine:
    """Return the signature line that `row`, without its line feed, is.

    Raises:
        LogError: `bad-note`.
    """
    name, space, encoded = row.removeprefix(_MARK).partition(" ")
    if not row.startswith(_MARK) or not space:
        raise LogError(_CODE, "a line behind the empty line is no signature")
    return SignatureLine(name, encoded)
