"""The hub's streams and consumers. One set for each member, so that none can fill another's."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from broker.errors import BrokerError
from broker.transport.errors import Refused, Unreachable
from broker.transport.link import Link
from broker.transport.message import Stored
from schemas.vocabulary import Lane

_MIB: Final = 1024 * 1024
_SECOND: Final = 1_000_000_000  # nanoseconds, JetStream's unit
DEDUPE_WINDOW_S: Final = 120  # longer, and forgotten message ids fill the server's memory
ACK_WAIT_S: Final = 45
MAX_ACK_PENDING: Final = 2000
INBOX_ACK_PENDING: Final = 1000
MAX_MESSAGE_BYTES: Final = 640 * 1024  # an envelope, its decision and headers
AUDIT_AGE: Final = timedelta(days=400)
NEXT_YEAR_AHEAD: Final = timedelta(days=31)
AUDIT_PREFIX: Final = "AUDIT_"
_IN_USE: Final = 10058
EXPIRED_STREAM: Final = "EXPIRED"
HEARD_S: Final = 4.0  # sooner after a word of their leader, servers elect no other
LANE_SHARES: Final[Mapping[Lane, float]] = {
    Lane.URGENT: 0.25,
    Lane.NORMAL: 0.5,
    Lane.EXERCISE: 0.125,
    Lane.CONTROL: 0.125,
}
"""Of a member's room for mail, so that no backlog takes the room of what is urgent."""


@dataclass(frozen=True)
class Sizes:
    """Most bytes for each member; the sum over all members must fit the disk.

    Attributes:
        submit: What a member handed in and no gateway decided yet.
        inbox: Its mail; every lane has its share.
        held: What its inbox could not take; every sender has an equal share.
        receipt: Answers to what it handed in.
        audit: Decisions of a year, of all members together.
        ack_wait_s: After which what a reader took and did not acknowledge is given out again.
        replicas: How many servers of a cluster keep each stream; one where there is no cluster.
        attachments: Sealed chunks of files that it sends; on the disk, in no stream.
    """

    submit: int = 128 * _MIB
    inbox: int = 512 * _MIB
    held: int = 256 * _MIB
    receipt: int = 64 * _MIB
    audit: int = 2048 * _MIB
    ack_wait_s: int = ACK_WAIT_S
    replicas: int = 1
    attachments: int = 4096 * _MIB

    def total(self, members: int, years: int) -> int:
        """Return what all streams together may take, and the chunks beside them."""
        each = self.submit + self.inbox + self.held + self.receipt + self.attachments
        return members * each + years * self.audit + self.held  # one more for what expired


def inbox_of(member: str, lane: Lane) -> str:
    """Return the stream of a member's mail in one lane; its consumer has the lane's name."""
    return f"INBOX_{member}_{lane}"


def held_for(recipient: str, sender: str) -> str:
    """Return the stream of one sender's mail that the recipient's inbox could not take."""
    return f"HELD_{recipient}_{sender}"


def ready_subject(stream: str) -> str:
    """Return the subject on which the log marks a stream of decisions as put right again."""
    return f"audit.{stream.removeprefix(AUDIT_PREFIX)}.log.ready"


def years_at(now: datetime) -> tuple[int, ...]:
    """Return the years whose AUDIT stream must be open to writing."""
    return tuple(range((now - AUDIT_AGE).year, (now + NEXT_YEAR_AHEAD).year + 1))


def check_disk(*folders: Path, sizes: Sizes, members: int, years: int) -> None:
    """Return if the disk holds every stream when all are full; what they hold now counts.

    Args:
        folders: Where streams and chunks lie, on one disk; the first is there already.
        sizes: Most that each may take.
        members: How many there are.
        years: How many AUDIT streams.

    Raises:
        BrokerError: `disk-too-small`, naming both sizes.
    """
    check_room(str(folders[0]), sizes.total(members, years), room_for(*folders))


def check_room(where: str, needed: int, room: int) -> None:
    """Return if `needed` bytes go into `room`.

    Raises:
        BrokerError: `disk-too-small`, naming both sizes.
    """
    if needed > room:
        raise BrokerError(
            "disk-too-small",
            f"the hub may store {needed // _MIB} MiB and {where} has room for {room // _MIB}"
            " MiB: lower the sizes or give it a larger disk",
        )


def room_for(*folders: Path) -> int:
    """Return how many bytes can lie in `folders`: what is free, and what they hold."""
    files = (entry for folder in folders for entry in folder.rglob("*") if entry.is_file())
    used = sum(entry.stat().st_blocks * 512 for entry in files)
    return shutil.disk_usage(folders[0]).free + used


async def ensure_streams(
    link: Link, members: Sequence[str], *, now: datetime, sizes: Sizes | None = None
) -> None:
    """Create what is missing of streams and consumers, and bring the rest to these settings.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    chosen = sizes or Sizes()
    for year in years_at(now):
        await _stream(
            link,
            f"{AUDIT_PREFIX}{year}",
            f"audit.{year}.>",
            {
                "retention": "limits",
                "max_bytes": chosen.audit,
                "max_age": int(AUDIT_AGE.total_seconds()) * _SECOND,
                "num_replicas": chosen.replicas,
                "deny_purge": True,
            },
        )
    await _queue(link, EXPIRED_STREAM, "expired.>", chosen.held, chosen.replicas)
    await _consumer(link, EXPIRED_STREAM, "GATEWAY", "expired.>", MAX_ACK_PENDING)
    for member in members:
        await _member(link, member, chosen)
        senders = [code for code in members if code != member]
        for sender in senders:
            await _held(link, member, sender, chosen.held // len(senders), chosen.replicas)


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


async def _member(link: Link, member: str, sizes: Sizes) -> None:
    for name, subject, size in (
        ("SUBMIT", "submit", sizes.submit),
        ("RECEIPT", "receipt", sizes.receipt),
    ):
        await _queue(link, f"{name}_{member}", f"{subject}.{member}.>", size, sizes.replicas)
    for lane in Lane:
        submitted, delivered = f"submit.{member}.{lane}.>", f"deliver.{member}.{lane}.>"
        await _consumer(
            link,
            f"SUBMIT_{member}",
            f"GATEWAY-{lane}",
            submitted,
            MAX_ACK_PENDING,
            ack_wait_s=sizes.ack_wait_s,
        )
        inbox = inbox_of(member, lane)
        room = int(sizes.inbox * LANE_SHARES[lane])
        await _queue(link, inbox, delivered, room, sizes.replicas)
        await _consumer(
            link, inbox, str(lane), delivered, INBOX_ACK_PENDING, ack_wait_s=sizes.ack_wait_s
        )
    await _consumer(link, f"RECEIPT_{member}", member, f"receipt.{member}.>", INBOX_ACK_PENDING)


async def _held(link: Link, recipient: str, sender: str, size: int, replicas: int) -> None:
    name, subject = held_for(recipient, sender), f"held.{recipient}.{sender}.>"
    await _queue(link, name, subject, size, replicas)
    # One at a time, so that what is held goes out in its order whichever worker drains it.
    await _consumer(link, name, "GATEWAY", subject, 1)


async def _queue(link: Link, name: str, subject: str, size: int, replicas: int) -> None:
    settings = {"retention": "workqueue", "max_bytes": size, "num_replicas": replicas}
    await _stream(link, name, subject, settings)


async def _stream(link: Link, name: str, subject: str, settings: Mapping[str, Any]) -> None:
    body = {
        "name": name,
        "subjects": [subject],
        "storage": "file",
        "discard": "new",
        "max_msg_size": MAX_MESSAGE_BYTES,
        "max_msgs": -1,
        "max_consumers": -1,
        "num_replicas": 1,
        "duplicate_window": DEDUPE_WINDOW_S * _SECOND,
        "allow_rollup_hdrs": False,
        "allow_direct": False,
        **settings,
    }
    try:
        await link.api(f"STREAM.CREATE.{name}", body)
    except Refused as error:
        if error.err_code != _IN_USE:
            raise
        await link.api(f"STREAM.UPDATE.{name}", body)


async def _consumer(
    link: Link, stream: str, name: str, subject: str, pending: int, *, ack_wait_s: int = ACK_WAIT_S
) -> None:
    config = {
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": ack_wait_s * _SECOND,
        "max_ack_pending": pending,
        "max_deliver": -1,
        "filter_subject": subject,
        "deliver_policy": "all",
        "replay_policy": "instant",
    }
    body = {"stream_name": stream, "config": config}
    await link.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)
