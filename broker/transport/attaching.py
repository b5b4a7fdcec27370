"""What members ask of the hub about attached files: `hub.<CC>.att.<what>`, one answer each.

    open  {id, counts, expires}          -> {next, without}     the sender says how many will come
    put   {id, number, chunk, data}      -> {kept}     the sender hands in a sealed chunk
    get   {sender, id, number, chunk}    -> {data}     a recipient fetches one
    done  {sender, id}                   -> {done}     a recipient has all of them, or wants none
    room  {}                             -> {room}     the most that the hub holds of a member

Who asks is known from the subject, which the account fixes; `id` is the envelope's. Canonical
MessagePack; an answer may be {error: code} instead. Nothing in it is trusted by either side.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.errors import BrokerError, Retry
from broker.transport.errors import Refused
from broker.transport.link import Link
from broker.transport.services import MISSING, Fields, read_fields
from schemas import canonical
from schemas.attachment import MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, chunks_of
from schemas.label import MEMBER_CODE
from schemas.moments import milliseconds, moment

CHUNK_TIMEOUT_S: Final = 40.0  # 256 KiB at 64 kbit/s; a slow line is slow, not dead
MAX_CHUNKS: Final = chunks_of(MAX_ATTACHMENT_BYTES)
_RETRY: Final[Mapping[str, Retry]] = {
    "busy": "later",
    "attachment-quota": "later",
    "not-decided": "later",
    "not-open": "later",
    "disk-full": "later",
    "disk-failed": "later",
}
_TEXT: Final[Mapping[str, str]] = {
    "busy": "the hub asks to wait",
    "attachment-quota": "the hub has no more room for what this member sends to these recipients",
    "not-decided": "no decision on this envelope stands",
    "nobody-accepted": "the decision on this envelope let nobody through",
    "decision-lost": "the hub lost its record of the decision, and with it for whom the files are",
    "not-open": "the hub was not told yet what will come",
    "expired": "the time of this alert is over",
    "counts-differ": "other numbers of chunks were told before",
    "chunk-differs": "another chunk stands at this place",
    "no-such-chunk": "more chunks than were told, or one of another length",
    "disk-full": "the hub's disk is full",
}
_ID_BYTES: Final = 16
_MEMBER: Final = re.compile(MEMBER_CODE)


class Attaching(StrEnum):
    """What can be asked."""

    OPEN = "open"
    PUT = "put"
    GET = "get"
    DONE = "done"
    ROOM = "room"


@dataclass(frozen=True)
class Opened:
    """The sender says what will come; it is a claim, bounded by the hub's rules."""

    id: UUID
    counts: tuple[int, ...]
    expires: datetime


@dataclass(frozen=True)
class Put:
    """A chunk handed in."""

    id: UUID
    number: int
    chunk: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Get:
    """A chunk asked for."""

    sender: str
    id: UUID
    number: int
    chunk: int


@dataclass(frozen=True)
class Done:
    """A recipient needs nothing more of this envelope."""

    sender: str
    id: UUID


@dataclass(frozen=True)
class Room:
    """A sender asks how many bytes of its chunks the hub holds at the most, all its files told."""


Asked = Opened | Put | Get | Done | Room


@dataclass(frozen=True)
class Begun:
    """What the hub answers to `open`.

    Attributes:
        next: Of each file the first chunk that the hub has not.
        without: Recipients for whom there was no room: they get none of these files.
    """

    next: tuple[int, ...]
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttachmentServices:
    """The hub's service to one member, over its link. Every method may raise `BrokerError`.

    Its `retry` says whether the same may pass later; no answer in time is `Unreachable`.
    """

    link: Link
    member: str

    async def open(self, opened: Opened) -> Begun:
        """Tell what will come; return where to go on, and who gets none of it."""
        body: Fields = {
            "id": opened.id.bytes,
            "counts": list(opened.counts),
            "expires": milliseconds(opened.expires),
        }
        match dict(await self._ask(Attaching.OPEN, body)):
            case {"next": list(found), "without": list(without)} if (
                len(found) == len(opened.counts)
                and all(
                    _is_index(index, count)
                    for index, count in zip(found, opened.counts, strict=True)
                )
                and all(isinstance(each, str) and _MEMBER.fullmatch(each) for each in without)
            ):
                return Begun(
                    tuple(index for index in found if isinstance(index, int)),
                    tuple(str(each) for each in without),
                )
            case _:
                raise _strange()

    async def put(self, put: Put) -> None:
        """Hand in a chunk; the hub keeps it durably before it answers. Safe to repeat."""
        body: Fields = {
            "id": put.id.bytes,
            "number": put.number,
            "chunk": put.chunk,
            "data": put.data,
        }
        if dict(await self._ask(Attaching.PUT, body)) != {"kept": True}:
            raise _strange()

    async def get(self, get: Get) -> bytes | None:
        """Return a chunk, or None while the hub has it not. It is not trusted."""
        body: Fields = {
            "sender": get.sender,
            "id": get.id.bytes,
            "number": get.number,
            "chunk": get.chunk,
        }
        match dict(await self._ask(Attaching.GET, body)):
            case {"data": bytes(data)} if len(data) <= SEALED_CHUNK_BYTES:
                return data
            case {"error": "missing"}:
                return None
            case _:
                raise _strange()

    async def done(self, done: Done) -> bool:
        """Say that nothing more is needed; return False if the hub knows of no files (yet).

        Safe to repeat.
        """
        body: Fields = {"sender": done.sender, "id": done.id.bytes}
        match dict(await self._ask(Attaching.DONE, body)):
            case {"done": True}:
                return True
            case {"error": "missing"}:
                return False
            case _:
                raise _strange()

    async def room(self) -> int:
        """Return how many bytes of this member's sealed chunks the hub ever holds at one time."""
        match dict(await self._ask(Attaching.ROOM, {})):
            case {"room": int(room)} if not isinstance(room, bool) and room >= 0:
                return room
            case _:
                raise _strange()

    async def _ask(self, what: Attaching, body: Fields) -> Fields:
        subject = f"hub.{self.member}.att.{what}"
        raw = await self.link.request(
            subject, canonical.encode(dict(body)), timeout_s=CHUNK_TIMEOUT_S
        )
        fields = read_fields(raw)
        code = fields.get("error")
        if isinstance(code, str) and code != MISSING:
            known = code if code in _TEXT else "hub-refused"
            text = _TEXT.get(code, "the hub refused it")
            raise BrokerError(known, text, retry=_RETRY.get(code, "never"))
        return fields


def read_asked(what: str, payload: bytes) -> Asked:
    """Return what a member asks; nothing of it is trusted but its form and bounds.

    Raises:
        BrokerError: `bad-request`, or what `read_fields` raises.
    """
    read = _READERS.get(what)
    if read is None:
        raise _bad()
    return read(dict(read_fields(payload)))


def _read_opened(fields: Fields) -> Opened:
    match fields:
        case {"id": bytes(ident), "counts": list(counts), "expires": int(expires), **rest} if (
            not rest
            and 1 <= len(counts) <= MAX_ATTACHMENTS
            and all(_is_index(count, MAX_CHUNKS) and count for count in counts)
            and 0 <= expires < 2**45
        ):
            found = tuple(count for count in counts if isinstance(count, int))
            return Opened(_uuid(ident), found, moment(expires))
        case _:
            raise _bad()


def _read_put(fields: Fields) -> Put:
    match fields:
        case {
            "id": bytes(ident),
            "number": number,
            "chunk": chunk,
            "data": bytes(data),
            **rest,
        } if not rest:
            return Put(_uuid(ident), *_place(number, chunk), data)
        case _:
            raise _bad()


def _read_get(fields: Fields) -> Get:
    match fields:
        case {
            "sender": str(sender),
            "id": bytes(ident),
            "number": number,
            "chunk": chunk,
            **rest,
        } if not rest:
            return Get(sender, _uuid(ident), *_place(number, chunk))
        case _:
            raise _bad()


def _read_done(fields: Fields) -> Done:
    match fields:
        case {"sender": str(sender), "id": bytes(ident), **rest} if not rest:
            return Done(sender, _uuid(ident))
        case _:
            raise _bad()


def _read_room(fields: Fields) -> Room:
    if fields:
        raise _bad()
    return Room()


_READERS: Final[Mapping[str, Callable[[Fields], Asked]]] = {
    Attaching.OPEN: _read_opened,
    Attaching.PUT: _read_put,
    Attaching.GET: _read_get,
    Attaching.DONE: _read_done,
    Attaching.ROOM: _read_room,
}


def next_answer(found: Sequence[int], without: Sequence[str]) -> bytes:
    """Return the answer to `open`."""
    return canonical.encode({"next": list(found), "without": list(without)})


def kept_answer() -> bytes:
    """Return the answer to `put`."""
    return canonical.encode({"kept": True})


def data_answer(chunk: bytes | None) -> bytes:
    """Return the answer to `get`."""
    return error_answer(MISSING) if chunk is None else canonical.encode({"data": chunk})


def done_answer() -> bytes:
    """Return the answer to `done`."""
    return canonical.encode({"done": True})


def room_answer(room_bytes: int) -> bytes:
    """Return the answer to `room`."""
    return canonical.encode({"room": room_bytes})


def error_answer(code: str) -> bytes:
    """Return the answer that refuses."""
    return canonical.encode({"error": code})


def refused(code: str) -> BrokerError:
    """Return what the hub raises for one of the codes it answers with."""
    return BrokerError(code, _TEXT[code], retry=_RETRY.get(code, "never"))


def _place(number: canonical.Value, chunk: canonical.Value) -> tuple[int, int]:
    if not _is_index(number, MAX_ATTACHMENTS - 1) or not _is_index(chunk, MAX_CHUNKS - 1):
        raise _bad()
    return int(str(number)), int(str(chunk))


def _is_index(value: canonical.Value, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _uuid(raw: bytes) -> UUID:
    if len(raw) != _ID_BYTES:
        raise _bad()
    return UUID(bytes=raw)


def _bad() -> BrokerError:
    return BrokerError("bad-request", "not a request of a known form")


def _strange() -> Refused:
    return Refused(0, "an answer of another form")
