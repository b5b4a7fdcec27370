"""What the server's answers mean: an acknowledgement, or one of our errors."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from nats.aio.msg import Msg
from pydantic_core import from_json

from broker.transport.errors import Refused, SequenceConflict, StreamFull, Unreachable
from broker.transport.message import Ack, Stored

NO_RESPONDERS: Final = "503"
NOT_FOUND: Final = 10037
_FULL: Final = frozenset({10077, 10122, 10023})  # bytes or messages exceeded; storage short
_CONFLICT: Final = 10071
_LEADERLESS: Final = frozenset({10004, 10005, 10008})  # a cluster that agrees on nothing for now
_STORED: Final = b'{"stream":"'
_UNREADABLE: Final = "an answer that cannot be read"


def stored(answer: Mapping[str, Any]) -> Stored:
    """Return the message inside an answer of STREAM.MSG.GET."""
    found = answer["message"]
    lines = base64.b64decode(found.get("hdrs", "")).decode("utf-8", "replace").split("\r\n")[1:]
    headers = {name: value for name, colon, value in (li.partition(": ") for li in lines) if colon}
    payload = base64.b64decode(found.get("data", ""))
    at = datetime.fromisoformat(found["time"]) if "time" in found else None
    return Stored(found["subject"], payload, found["seq"], headers, at)


def ack_of(message: Msg) -> Ack:
    """Return where the server stored what was published.

    Raises:
        TransportError: It did not, and why.
    """
    status = (message.headers or {}).get("Status")
    if status == NO_RESPONDERS:
        raise Unreachable("nobody stores this subject now")
    answer = answer_in(message.data)
    match answer:
        case {"stream": str(stream), "seq": int(seq)}:
            return Ack(stream, seq, bool(answer.get("duplicate")))
        case _:
            raise Refused(0, _UNREADABLE)


def check_stored(message: Msg) -> None:
    """Return if the server stored what was published; where, nobody asks.

    Raises:
        TransportError: As `ack_of`.
    """
    # What the hub's own server writes, five times for each decision; all else is read.
    if message.data.startswith(_STORED) and b'"error"' not in message.data:
        return
    ack_of(message)


def answer_in(raw: bytes) -> dict[str, Any]:
    """Return JetStream's answer, which a member's node has from a hub that it need not trust.

    Raises:
        TransportError: It is an error, or no answer.
    """
    try:
        answer = from_json(raw)  # five for every decision: the quickest parser at hand
    except ValueError:  # too many brackets are one, for this parser
        raise Refused(0, _UNREADABLE) from None
    if not isinstance(answer, dict):
        raise Refused(0, _UNREADABLE)
    check(answer)
    return answer


def check(answer: Mapping[str, Any]) -> None:
    """Return if a JetStream answer is not an error.

    Raises:
        TransportError: It is.
    """
    error = answer.get("error")
    if not error:
        return
    if not isinstance(error, dict):
        raise Refused(0, _UNREADABLE)
    code = error.get("err_code", 0)
    if not isinstance(code, int):
        raise Refused(0, _UNREADABLE)
    if code in _FULL:
        raise StreamFull
    if code == _CONFLICT:
        raise SequenceConflict
    if code in _LEADERLESS:
        raise Unreachable("the hub's servers agree on no leader now")
    raise Refused(code, str(error.get("description", "refused")))


def check_status(message: Msg) -> None:
    """Return if a message that ends a pull only says that there is no more.

    Raises:
        TransportError: It says something else.
    """
    status = (message.headers or {}).get("Status", "")
    if status == NO_RESPONDERS:
        raise Unreachable("nobody serves this stream now")
    if status not in {"404", "408", "409", "100"}:
        raise Refused(0, "an unexpected status")
