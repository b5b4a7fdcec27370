"""The hub's streams and consumers. One set for each member, so that none can fill another's."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from broker.errors import BrokerError
from broker.transport.errors import Refused
from broker.transport.link import Link
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
