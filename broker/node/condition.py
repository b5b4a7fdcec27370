"""How a node is, and whom its directory names, as desks and monitoring see it."""

from dataclasses import dataclass
from datetime import datetime

from broker.node import alarms, notices, pairs, queues
from broker.node.epochkeys import key_alarms
from broker.node.logwatch import LogWatch
from broker.node.present import Present
from broker.node.sealing import incarnation_of
from broker.store.database import Database
from broker.transport.link import Link
from keys.identity import MemberIdentity
from schemas.desk import Alarm, MemberShown, MembersPage, NodeStatus


@dataclass
class Condition:
    """What one node says of itself.

    Attributes:
        identity: Replaced where keys were destroyed.
    """

    present: Present
    identity: MemberIdentity
    database: Database
    link: Link
    log: LogWatch | None

    async def status(self) -> NodeStatus:
        """Return how the node is."""
        now = self.present.now()
        async with self.database.read() as connection:
            counts = await queues.submission_counts(connection)
            gap_counts = await pairs.count_gaps(connection, now=now)
            gaps = await pairs.open_gaps(connection, gap_counts, now=now)
            raised = await alarms.all_alarms(connection)
            suspended = await notices.suspension_alarms(connection)
            silent = await pairs.silent_peers(connection, now=now)
            inbox = await queues.inbox_counts(connection)
            waiting_since = await queues.waiting_since(connection)
            incarnation = await incarnation_of(connection)
            in_quarantine = await queues.quarantined(connection)
        shown = self.present.shown() if self.present.has_directory else None
        missing = tuple(
            Alarm(code="pair-state-missing", peer=peer, count=1, first_at=now, last_at=now)
            for peer in silent
        )
        return NodeStatus(
            member=self.present.member,
            connected=self.link.connected,
            sealing=self.present.hindrance(),
            directory=shown,
            clock=self.present.clock_shown(),
            incarnation=incarnation,
            outbox=counts[0],
            exercise_outbox=counts[1],
            inbox=inbox[0],
            exercise_inbox=inbox[1],
            last_position=inbox[2],
            quarantined=in_quarantine,
            gaps=gaps,
            gap_counts=gap_counts,
            alarms=(
                *alarms.damage_alarms(self.database, raised),
                *alarms.unsaid_alarms(self.present),
                *self._key_alarms(now),
                *missing,
                *suspended,
                *raised,
            ),
            log=None if self.log is None else await self.log.shown(),
            waiting_since=waiting_since,
        )

    def members(self) -> MembersPage:
        """Return whom the directory names.

        Raises:
            NodeError: `no-directory`.
        """
        view, now = self.present.view, self.present.now()
        return MembersPage(
            directory=self.present.shown(),
            members=tuple(
                MemberShown(
                    code=code,
                    kind="state" if str(member.kind) == "state" else "partner",
                    name=member.document.names.get("en", code),
                    groups=tuple(sorted(member.groups)),
                    reads={name: tuple(found) for name, found in member.document.reads.items()},
                    suspended=member.suspended_at is not None and member.suspended_at <= now,
                )
                for code, member in sorted(view.member_views.items())
            ),
        )

    def _key_alarms(self, now: datetime) -> tuple[Alarm, ...]:
        if not self.present.has_directory:
            return ()
        epochs = self.identity.epochs.values()
        return key_alarms(self.present.view, self.present.member, epochs, now=now)
