"""What the hub answers a member: files of the directory, its time, its notices.

The member asks, the hub answers once, in bounded pieces; it never calls a node. The wire is
canonical MessagePack. A node trusts none of it: the directory verifies itself, the time is only
compared, and a notice only shown.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeGuard

from broker.errors import BrokerError
from broker.transport.errors import Refused
from broker.transport.link import Link
from keys.primitives.hashing import sha256
from schemas import canonical
from schemas.errors import CanonicalError

MAX_PIECE_BYTES: Final = 256 * 1024
SMALL_PIECE_BYTES: Final = 16 * 1024  # on a slow line: two seconds, and mail goes between
MAX_ANSWER_BYTES: Final = 512 * 1024
MAX_REPORT_BYTES: Final = 512 * 1024  # a request to a witness has about ten kibibytes
REQUEST_TIMEOUT_S: Final = 5.0
TELL_LATEST: Final = b"latest\n"
LEND: Final = b"lend "  # before the path of a file of the asking node's copy
TAKEN: Final = b"taken\n"
REFUSED: Final = b"refused\n"
MISSING: Final = "missing"
BUSY: Final = "busy"
MAX_REASON: Final = 200  # characters of the operator's reason, one printable line
_MEMBER: Final = re.compile(r"[A-Z][A-Z0-9-]{1,15}")
Fields = Mapping[str, canonical.Value]


class Witnessing(StrEnum):
    """What a witness asks of the hub, `hub.<CC>.witness.<what>`."""

    NEXT = "next"
    SUBMIT = "submit"
    LATEST = "latest"
    OTHERS = "others"
    REPORT = "report"
    REPORTED = "reported"
    LEAVES = "leaves"


@dataclass(frozen=True)
class Notice:
    """The hub's operator suspended a member's connection, and says so to all."""

    member: str
    reason: str
    at: datetime
    until: datetime


@dataclass(frozen=True)
class HubServices:
    """The hub's services to one member, over its link."""

    link: Link
    member: str

    async def read(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return a file of the published directory, or None if there is none.

        Args:
            path: Relative, for example `metadata/timestamp.json`.
            max_bytes: More is refused.

        Raises:
            Unreachable: No answer in time.
            Refused: The answer breaks the rules.
            BrokerError: `busy`: the hub asks to wait.
        """
        return await self._file(f"dir.{path}", max_bytes)

    async def log_file(self, path: str, *, max_bytes: int, known: bytes = b"") -> bytes | None:
        """Return a file of the log as `tlog-tiles` lays it out, or None if there is none.

        Args:
            path: In the log.
            max_bytes: More is refused.
            known: What it held when it was asked for last: then it need not cross the line again.

        Raises:
            BrokerError: As `read`.
        """
        return await self._file(f"log.{path}", max_bytes, known)

    async def witness(self, what: Witnessing, body: bytes) -> bytes:
        """Return the hub's answer to a witness; it is not trusted.

        Args:
            what: `NEXT` asks what to cosign and tells the size cosigned last; `SUBMIT` hands in a
                status and a body; `LATEST` hands in the note cosigned last; `OTHERS` asks for those
                of all witnesses; `REPORT` hands in a request that was refused although the log had
                signed it; `REPORTED` asks for the one of that number, from 0; `LEAVES` hands in a
                file that the answer to `NEXT` asked for, its path and a line feed before it.
            body: As `broker.log.witness`.

        Raises:
            BrokerError: As `read`; a log that does not run is `Unreachable`.
        """
        subject = f"hub.{self.member}.witness.{what}"
        raw = await self.link.request(subject, body, timeout_s=REQUEST_TIMEOUT_S)
        if raw == busy_answer():
            raise BrokerError(BUSY, "the hub asks to wait", retry="later")
        return raw

    async def others_cosigned(self) -> tuple[bytes, ...]:
        """Return the notes that the witnesses cosigned last, as far as the hub has them.

        Raises:
            BrokerError: As `read`.
        """
        match dict(read_fields(await self.witness(Witnessing.OTHERS, b""))):
            case {"cosigned": list(notes)}:
                return tuple(note for note in notes if isinstance(note, bytes))
            case _:
                raise Refused(0, "an answer of another form")

    async def _file(self, name: str, max_bytes: int, known: bytes = b"") -> bytes | None:
        raw = b""
        while True:
            unless: Fields = {"unless": sha256(known)} if known and not raw else {}
            found = await self._ask(name, {"offset": len(raw), **self._bounded(), **unless})
            match dict(found):
                case {"error": "missing"}:
                    return None
                case {"same": True} if unless:
                    return known
                case {"size": int(size), "offset": int(offset), "data": bytes(piece)}:
                    pass
                case _:
                    raise Refused(0, "an answer of another form")
            if size > max_bytes or offset != len(raw) or (not piece and size > len(raw)):
                raise Refused(0, "a file too long, or out of order")
            raw += piece
            if len(raw) >= size:
                return raw[:size]

    def _bounded(self) -> Fields:
        """Return how long a piece may be; a hub that does not know of it sends its own."""
        return {"most": SMALL_PIECE_BYTES} if self.link.is_slow else {}

    async def time(self) -> datetime:
        """Return the hub's clock.

        Raises:
            BrokerError: As `read`.
        """
        match dict(await self._ask("time", {})):
            case {"ms": int(ms)} if 0 <= ms < 2**45:
                return datetime.fromtimestamp(ms / 1000, tz=UTC)
            case _:
                raise Refused(0, "an answer of another form")

    async def notices(self) -> tuple[Notice, ...]:
        """Return which members' connections the operator has suspended now, and why.

        Raises:
            BrokerError: As `read`.
        """
        match dict(await self._ask("notices", {})):
            case {"suspended": list(found)}:
                return tuple(_notice(value) for value in found)
            case _:
                raise Refused(0, "an answer of another form")

    async def _ask(self, name: str, body: Fields) -> Fields:
        raw = await self.link.request(
            f"hub.{self.member}.{name}", canonical.encode(dict(body)), timeout_s=REQUEST_TIMEOUT_S
        )
        fields = read_fields(raw)
        if fields.get("error") == BUSY:
            raise BrokerError(BUSY, "the hub asks to wait", retry="later")
        return fields


def read_fields(raw: bytes) -> Fields:
    """Return the map in a request or answer, which is not trusted.

    Raises:
        Refused: Too long, or not a canonical map.
    """
    try:
        value = canonical.decode(raw, max_bytes=MAX_ANSWER_BYTES)
    except CanonicalError as error:
        raise Refused(0, "not canonical") from error
    if not isinstance(value, dict):
        raise Refused(0, "not a map")
    return value


def asked_by(subject: str) -> str:
    """Return the member whose service `subject` is; its account alone may ask there."""
    return subject.split(".", 2)[1]


def asked_file(subject: str) -> str:
    """Return the path that `hub.<CC>.<service>.<path>` names."""
    return subject.split(".", 3)[3]


def piece_for(raw: bytes | None, payload: bytes) -> bytes:
    """Return the answer to a request for a part of a file.

    Args:
        raw: The whole file, or None if there is none.
        payload: The request, not trusted: from where on, how much at most, and the SHA-256 of
            what need not be sent.

    Raises:
        BrokerError: `bad-request`, or what `read_fields` raises.
    """
    fields = read_fields(payload)
    offset, most = fields.get("offset"), fields.get("most", MAX_PIECE_BYTES)
    if not _is_count(offset, least=0) or not _is_count(most, least=1):
        raise BrokerError("bad-request", "an offset is missing")
    if raw is not None and fields.get("unless") == sha256(raw):
        return canonical.encode({"same": True})
    return piece_of(raw, offset, most)


def piece_of(raw: bytes | None, offset: int, most: int = MAX_PIECE_BYTES) -> bytes:
    """Return the answer that carries the part of a file that begins at `offset`."""
    if raw is None:
        return canonical.encode({"error": MISSING})
    piece = raw[offset : offset + min(most, MAX_PIECE_BYTES)]
    return canonical.encode({"size": len(raw), "offset": offset, "data": piece})


def _is_count(value: object, *, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def time_answer(now: datetime) -> bytes:
    """Return the answer that carries the hub's clock."""
    return canonical.encode({"ms": int(now.timestamp() * 1000)})


def notices_answer(notices: tuple[Notice, ...]) -> bytes:
    """Return the answer that carries the suspensions in force."""
    return canonical.encode(
        {
            "suspended": [
                [n.member, n.reason, int(n.at.timestamp()), int(n.until.timestamp())]
                for n in notices
            ]
        }
    )


def cosigned_answer(notes: Sequence[bytes]) -> bytes:
    """Return the answer that carries what the witnesses cosigned last."""
    return canonical.encode({"cosigned": list(notes)})


def busy_answer() -> bytes:
    """Return the answer that asks to wait."""
    return canonical.encode({"error": BUSY})


def _notice(value: canonical.Value) -> Notice:
    match value:
        case [str(member), str(reason), int(at), int(until)] if (
            0 <= at <= until < 2**35
            and _MEMBER.fullmatch(member)
            and 0 < len(reason) <= MAX_REASON
            and reason.isprintable()
        ):
            return Notice(
                member,
                reason,
                datetime.fromtimestamp(at, tz=UTC),
                datetime.fromtimestamp(until, tz=UTC),
            )
        case _:
            raise Refused(0, "a notice of another form")
