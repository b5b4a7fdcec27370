"""The form of a carried file. Source: docs/carry.md.

A magic line, then records, each after its length. The first record is the header, the last the
end: how many records stand between them, and the SHA-256 of everything before the end. What a node
writes is signed by the node over that hash, since it says which copies the hub may forget. What a
ferry writes is signed by the ferry, whose word counts for attached files alone: every copy,
receipt, key and proof in it stands under its own signature.

Whoever carries a file is not trusted. The hash tells a cut or changed file from a whole one before
anything in it is used; it says nothing about who wrote it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, Final

from broker.errors import BrokerError
from keys.errors import SignatureError
from keys.primitives.signing import Signing, VerifyKey
from schemas import canonical
from schemas.errors import CanonicalError, SchemaError
from schemas.moments import moment

MAGIC: Final = b"kentong-carry/1\n"
SIGNED: Final = b"kentong/carry/1\0"
MAX_FILE_BYTES: Final = 2 * 1024**3
MAX_RECORD_BYTES: Final = 34 * 1024 * 1024  # a directory of the greatest size, and its name
MAX_RECORDS: Final = 1_000_000
MAX_NAME: Final = 300  # characters; the longest is the path of a file of the directory
HASH_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_END: Final = "end"
DAMAGED: Final = "carry-damaged"


class CarryError(BrokerError):
    """A carried file is not used, or not made; what is kept here stays as it was."""


class To(StrEnum):
    """Which way a file goes."""

    HUB = "hub"
    NODE = "node"


class What(StrEnum):
    """What a record holds."""

    ENVELOPE = "envelope"  # name: its subject; number: its place
    DONE = "done"  # hashes of what the node keeps, so that the hub need not
    COPY = "copy"  # name: its lane; number: how often the hub gave it out
    RECEIPT = "receipt"  # name: its subject
    ASK = "ask"  # name: of a service for attached files; the request
    ANSWER = "answer"  # name: what the hub was asked; the whole answer


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Not authenticated in a file to a node.

    Attributes:
        to: Which way it goes.
        member: Whose mail it is.
        id: Of this file, random.
        made_ms: When it was made, by the clock of whoever made it; before the year 10000.
        hub_ms: What the hub's clock said then, as far; 0 in a file to the hub.
        answers: Id of the last file to the hub that its ferry had taken; empty for none.
        origin: Of the log of which the node keeps a copy; empty for none.
        leaves: How many leaves that copy has.
    """

    to: To
    member: str
    id: str
    made_ms: int
    hub_ms: int = 0
    answers: str = ""
    origin: str = ""
    leaves: int = 0


@dataclass(frozen=True)
class Record:
    """One thing that is carried; nothing in it is trusted."""

    what: What
    name: str
    number: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class Whole:
    """A file that was read to its end and is whole.

    Attributes:
        header: What it says of itself.
        records: How many there are.
        digest: What its signature is over.
        kid: Identifier of the key that signed; empty where nobody did.
        signature: Not verified here: see `check_signed`.
    """

    header: Header
    records: int
    digest: bytes
    kid: bytes
    signature: bytes

    def check_signed(self, key: VerifyKey) -> None:
        """Return if the node wrote this file.

        Raises:
            CarryError: `carry-unsigned`.
        """
        try:
            key.verify(self.signature, SIGNED + self.digest)
        except SignatureError:
            raise CarryError(
                "carry-unsigned", "the file is not signed by the node it names"
            ) from None


class Writer:
    """Writes one file, record by record; `end` makes it whole."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        """Begin with the header."""
        self._file = file
        self._hash = hashlib.sha256()
        self.records = 0
        self.size = 0
        self._write(MAGIC)
        self._frame(canonical.encode(_fields(header)))

    def add(self, record: Record) -> None:
        """Write one record.

        Raises:
            CarryError: `carry-full`: there is no room in this file.
            OSError: The disk does not take it.
        """
        raw = canonical.encode([str(record.what), record.name, record.number, record.payload])
        if self.records >= MAX_RECORDS or self.size + len(raw) > MAX_FILE_BYTES - MAX_NAME:
            raise CarryError("carry-full", "the file is full", retry="later")
        self._frame(raw)
        self.records += 1

    def end(self, kid: bytes = b"", key: Signing | None = None) -> None:
        """Say that this was all, signed where there is a key.

        Raises:
            OSError: The disk does not take it.
        """
        digest = self._hash.digest()
        signature = b"" if key is None else key.sign(SIGNED + digest)
        self._frame(canonical.encode([_END, self.records, digest, kid, signature]))

    def _frame(self, raw: bytes) -> None:
        self._write(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)

    def _write(self, raw: bytes) -> None:
        self._file.write(raw)
        self._hash.update(raw)
        self.size += len(raw)


def check_whole(file: BinaryIO) -> Whole:
    """Return what a file says of itself, if it is whole and every record has the form.

    Args:
        file: Not trusted, at its beginning.

    Raises:
        CarryError: `carry-no-file`, or `carry-damaged`: it is cut short or changed.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise CarryError("carry-no-file", "this is no carried file of a known version")
    digest, count = hashlib.sha256(MAGIC), 0
    header = parse_header(_next(file, digest))
    while True:
        before = digest.copy()
        raw = _next(file, digest)
        match _value(raw):
            case [str(word), int(number), bytes(said), bytes(kid), bytes(signature)] if (
                word == _END
            ):
                if number != count or said != before.digest() or file.read(1):
                    raise CarryError(DAMAGED, "the file was changed after it was made")
                return Whole(header, count, said, kid, signature)
            case _:
                parse_record(raw)
        count += 1


def records_in(file: BinaryIO) -> Iterator[tuple[int, Record]]:
    """Yield every record of a file that is whole, with the place of it.

    Raises:
        CarryError: It changed meanwhile.
    """
    file.seek(len(MAGIC))
    _next(file, None)
    while True:
        place = file.tell()
        raw = _next(file, None)
        match _value(raw):
            case [str(word), int(), bytes(), bytes(), bytes()] if word == _END:
                return
            case _:
                yield place, parse_record(raw)


def record_at(file: BinaryIO, place: int) -> Record:
    """Return the record at a place that `records_in` named.

    Raises:
        CarryError: It changed meanwhile.
    """
    file.seek(place)
    return parse_record(_next(file, None))


def parse_header(raw: bytes) -> Header:
    """Return the header in `raw`, which is not trusted.

    Raises:
        CarryError: `carry-damaged`.
    """
    match _value(raw):
        case {
            "to": str(to),
            "member": str(member),
            "id": str(ident),
            "made_ms": int(made_ms),
            "hub_ms": int(hub_ms),
            "answers": str(answers),
            "origin": str(origin),
            "leaves": int(leaves),
            **rest,
        } if not rest and to in set(To) and leaves >= 0:
            _check_times(made_ms, hub_ms)
            return Header(To(to), member, ident, made_ms, hub_ms, answers, origin, leaves)
        case _:
            raise CarryError(DAMAGED, "the header of the file has another form")


def _check_times(*wire: int) -> None:
    try:
        for each in wire:
            moment(each)
    except SchemaError as error:
        raise CarryError(DAMAGED, "the header of the file names a time that is none") from error


def parse_record(raw: bytes) -> Record:
    """Return the record in `raw`, which is not trusted.

    Raises:
        CarryError: `carry-damaged`.
    """
    match _value(raw):
        case [str(what), str(name), int(number), bytes(payload)] if (
            what in set(What) and len(name) <= MAX_NAME and number >= 0
        ):
            return Record(What(what), name, number, payload)
        case _:
            raise CarryError(DAMAGED, "a record of the file has another form")


def _fields(header: Header) -> canonical.Value:
    return {
        "to": str(header.to),
        "member": header.member,
        "id": header.id,
        "made_ms": header.made_ms,
        "hub_ms": header.hub_ms,
        "answers": header.answers,
        "origin": header.origin,
        "leaves": header.leaves,
    }


def _next(file: BinaryIO, digest: "hashlib._Hash | None") -> bytes:
    prefix = file.read(_LENGTH_BYTES)
    size = int.from_bytes(prefix, "big")
    if len(prefix) < _LENGTH_BYTES or size > MAX_RECORD_BYTES:
        raise CarryError(DAMAGED, "the file ends early: it was cut short")
    raw = file.read(size)
    if len(raw) < size:
        raise CarryError(DAMAGED, "the file ends early: it was cut short")
    if digest is not None:
        digest.update(prefix + raw)
    return raw


def _value(raw: bytes) -> canonical.Value:
    try:
        return canonical.decode(raw, max_bytes=MAX_RECORD_BYTES)
    except CanonicalError as error:
        raise CarryError(DAMAGED, "a record of the file is damaged") from error
