"""A message pulled from a stream, and how it is acknowledged."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from broker.transport.errors import Refused

_SHORT: Final = 9  # $JS.ACK.stream.consumer.delivered.sequence.consumer sequence.time.pending
_LONG: Final = 11  # the same with domain and account hash before the stream
_NANOSECONDS: Final = 1_000_000_000
_MAX_DIGITS: Final = 14  # year 5138
_MAX_TOKEN: Final = 20  # digits of 64 bits; as nanoseconds year 5138
ID_HEADER: Final = "Nats-Msg-Id"
"""A stream drops a second message with the same one within its window."""
EXPIRES_HEADER: Final = "Kentong-Expires"
"""Milliseconds since 1970: until then the hub keeps a copy for its reader."""
SENDER_HEADER: Final = "Kentong-Sender"
"""Whose alert a copy is."""
UNREAD_AT_MOST: Final = timedelta(days=90)
"""Then what nobody took leaves the hub: a copy, or the chunks of a file."""
Publish = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class Message:
    """One message of a stream; it comes again unless it is acknowledged.

    Attributes:
        attempts: How often it was handed out, this time included.
        stream_seq: Its number in the stream.
        timestamp: When the stream took it.
    """

    subject: str
    payload: bytes = field(repr=False)
    headers: Mapping[str, str]
    attempts: int
    stream_seq: int
    timestamp: datetime
    _reply: str = field(repr=False)
    _publish: Publish = field(repr=False)

    @classmethod
    def of(
        cls,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None,
        reply: str,
        publish: Publish,
    ) -> "Message":
        """Return the message with what its reply subject says of it.

        Raises:
            Refused: It did not come from a stream; the hub wrote it, which nobody need trust.
        """
        tokens = reply.split(".")
        if len(tokens) < _SHORT or tokens[:2] != ["$JS", "ACK"]:
            raise Refused(0, "a message without an acknowledgement subject")
        first = 4 if len(tokens) < _LONG else 6
        delivered, sequence, _, time_ns = map(_number, tokens[first : first + 4])
        return cls(
            subject,
            payload,
            dict(headers or {}),
            delivered,
            sequence,
            datetime.fromtimestamp(time_ns / _NANOSECONDS, tz=UTC),
            reply,
            publish,
        )

    def bare(self) -> "Message":
        """Return it without what it says, to be acknowledged or given back later."""
        return replace(self, payload=b"", headers={})

    async def ack(self) -> None:
        """Take it out of the stream. If this is lost on the way, the message comes again."""
        await self._publish(self._reply, b"+ACK")

    async def nak(self, *, delay_s: float = 0) -> None:
        """Give it back, to be handed out again after `delay_s`."""
        delay = b' {"delay": %d}' % int(delay_s * _NANOSECONDS) if delay_s else b""
        await self._publish(self._reply, b"-NAK" + delay)

    async def in_progress(self) -> None:
        """Ask for more time before it is handed out again."""
        await self._publish(self._reply, b"+WPI")


class Outgoing(NamedTuple):
    """What is published: with the header `ID_HEADER` if a stream is to store it once."""

    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


@dataclass(frozen=True)
class Ack:
    """Where the server stored what was published."""

    stream: str
    seq: int
    duplicate: bool


@dataclass(frozen=True)
class Stored:
    """A message as it stands in a stream.

    Attributes:
        at: When the stream took it; None if its server does not say.
    """

    subject: str
    payload: bytes = field(repr=False)
    seq: int
    headers: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None


def _number(token: str) -> int:
    if not token.isascii() or not token.isdecimal() or len(token) > _MAX_TOKEN:
        raise Refused(0, "an acknowledgement subject that cannot be read")
    return int(token)


def leaves_at(headers: Mapping[str, str]) -> datetime | None:
    """Return until when the hub keeps a copy; None if its headers do not say."""
    raw = headers.get(EXPIRES_HEADER, "")
    if not raw.isascii() or not raw.isdecimal() or len(raw) > _MAX_DIGITS:
        return None
    return datetime.fromtimestamp(int(raw) / 1000, tz=UTC)
