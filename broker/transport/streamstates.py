"""What the hub's streams hold and how far they are, as the server that leads each of them says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.message import Stored

HEARD_S: Final = 4.0  # sooner after a word of their leader, servers elect no other
_SECOND: Final = 1_000_000_000  # nanoseconds, JetStream's unit


@dataclass(frozen=True)
class StreamState:
    """How far a stream is. Both only grow, or the stream is not the one it was.

    Attributes:
        created: When the server made it, as the server writes it.
        last_seq: Number of its newest message, whether or not that is still there.
        messages: How many it holds now.
        first_seq: Number of the oldest that it holds.
        size_bytes: What they take.
        max_bytes: What they may take.
        oldest: When the server took the oldest, as it writes it; empty if it holds none.
        behind: Servers of a cluster that do not hold all of it at this moment.
    """

    created: str
    last_seq: int
    messages: int = 0
    first_seq: int = 0
    size_bytes: int = 0
    max_bytes: int = 0
    oldest: str = ""
    behind: int = 0

    @property
    def gone(self) -> int:
        """How many messages it no longer holds, read or not: numbers begin at 1."""
        return self.last_seq - self.messages

    @classmethod
    def of(cls, stream: Mapping[str, Any]) -> "StreamState":
        """Return what the server's answer about a stream says."""
        state = stream["state"]
        return cls(
            stream["created"],
            state["last_seq"],
            state["messages"],
            state["first_seq"],
            state["bytes"],
            stream["config"]["max_bytes"],
            state["first_ts"] if state["messages"] else "",
            _behind(stream.get("cluster") or {}),
        )


async def stream_state(link: Link, name: str) -> StreamState:
    """Return how far one stream is.

    Raises:
        TransportError: The server refused, or did not answer, or only one that may lead no more.
    """
    stream = await link.api(f"STREAM.INFO.{name}", {})
    if not leads(stream):
        raise Unreachable(f"no server of the hub speaks for {name}")
    return StreamState.of(stream)


@dataclass(frozen=True)
class Seen:
    """What a look at streams found.

    Attributes:
        states: Of each stream for which a server spoke.
        silent: Streams that are there, and of which nothing is known at this moment: in a cluster
            no server speaks for them, as for ten seconds after the one that led them died, or one
            that does not lead them any more. To whoever remembers how far they were they are not
            gone.
    """

    states: dict[str, StreamState]
    silent: frozenset[str] = frozenset()


async def streams_seen(link: Link, subjects: str = ">") -> Seen:
    """Return how far each stream is whose subjects overlap `subjects`, as far as servers speak.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    states: dict[str, StreamState] = {}
    silent: set[str] = set()
    offset = 0
    while True:
        page = await link.api("STREAM.LIST", {"offset": offset, "subject": subjects})
        # Who is silent may stand among the others too, as if it held nothing.
        quiet = {*(page.get("missing") or ()), *(page.get("offline") or ())}
        spoken = {stream["config"]["name"]: stream for stream in page.get("streams") or ()}
        quiet |= {name for name, stream in spoken.items() if not leads(stream)}
        states |= {name: StreamState.of(spoken[name]) for name in spoken.keys() - quiet}
        silent |= quiet
        listed = len(spoken.keys() | quiet)
        offset += listed
        if not listed or offset >= page["total"]:
            return Seen(states, frozenset(silent))


def leads(stream: Mapping[str, Any]) -> bool:
    """Return whether a stream is as this answer about it says.

    A server that hears the others no more takes itself for the leader for a while (tried: eighteen
    seconds, of which the others had another for eight), and shows the stream as it was: it would
    seem to have gone back to whoever comes from the others. So a majority must have been heard of
    since they could have elected.
    """
    cluster = stream.get("cluster") or {}
    others = cluster.get("replicas") or ()
    heard = sum(each.get("active", 0) < HEARD_S * _SECOND for each in others)
    return not others or (bool(cluster.get("leader")) and 1 + heard > (1 + len(others)) // 2)


async def stream_states(link: Link, subjects: str = ">") -> dict[str, StreamState]:
    """Return how far every stream is whose subjects overlap `subjects`.

    Raises:
        TransportError: The server refused, or did not answer; or it did not speak for some of the
            streams. A list without them would say that they are gone.
    """
    seen = await streams_seen(link, subjects)
    if seen.silent:
        raise Unreachable("no server of the hub speaks for some of its streams")
    return seen.states


async def messages_on(link: Link, stream: str, subjects: str) -> list[Stored]:
    """Return every message of a stream that `subjects` matches, in order.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    found: list[Stored] = []
    while (stored := await link.get_next(stream, _after(found), subjects)) is not None:
        found.append(stored)
    return found


async def consumers_of(link: Link, stream: str) -> list[dict[str, Any]]:
    """Return what the server says of each reader of a stream, `ConsumerInfo` as JetStream has it.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    page = await link.api(f"CONSUMER.LIST.{stream}", {"offset": 0})
    return page.get("consumers") or []


async def acknowledged_to(link: Link, stream: str) -> int:
    """Return the number up to which every consumer acknowledged all; 0 if there is none.

    A server that does not count for the others any more knows less, and never more; one whose
    stream went back begins at 0 again.

    Raises:
        TransportError: As `consumers_of`.
    """
    consumers = await consumers_of(link, stream)
    return min((each["ack_floor"]["stream_seq"] for each in consumers), default=0)


async def erase_message(link: Link, stream: str, seq: int) -> None:
    """Take a message out of a stream, and overwrite its bytes in the server's files.

    What a reader acknowledged before is not overwritten: it goes with its block of the file, at
    the latest when the stream is empty.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    await link.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": False})


def _behind(cluster: Mapping[str, Any]) -> int:
    return sum(not each.get("current") for each in cluster.get("replicas") or ())


def _after(found: Sequence[Stored]) -> int:
    return found[-1].seq + 1 if found else 1
