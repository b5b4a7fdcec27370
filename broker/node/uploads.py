"""Brings attached files to the hub, once the gateway has accepted their alert for somebody.

An alert never waits for its files: they go by a task of their own, few chunks at a time on a slow
line. Those of urgent alerts go before all others, and of alerts that are as urgent as each other in
turn, a window each: so no film keeps a photograph waiting. The hub says where to go on, and in the
end that it has all, so nothing is kept of how far this is; and the chunks of one envelope are
always sealed to the same bytes, since a place in it determines key and nonce.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, case, delete, exists, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.chunks import file_key, seal_chunk
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, submissions
from broker.node.changes import Changes, wait_for_change
from broker.node.errors import NodeError
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.node.rounds import AFTER_ID, AFTER_MS, BY_MS, Round, next_in
from broker.node.staging import Staging
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from broker.store.errors import StoreError
from broker.store.statements import Statement
from broker.store.tables import uploads as table
from broker.transport.attaching import AttachmentServices, Opened, Put
from broker.transport.link import Link
from schemas.attachment import Manifest
from schemas.desk import SendingState, Submission, SubmissionState
from schemas.vocabulary import Lane

IDLE_S: Final = 1.0
WINDOW: Final = 4  # chunks on their way at once, on a line that is quick
QUICK_S: Final = 1.0  # a window that takes longer is followed by single chunks: mail goes between
AGAIN: Final = timedelta(seconds=15)  # after the hub asked to wait
SOON: Final = timedelta(seconds=2)  # after it did not answer
_SOON: Final = frozenset({"unreachable", "busy"})
LEFT_OUT: Final = "attachment-left-out"
NOTED_EVERY: Final = 32  # chunks between two notes of how far it is
_OVER: Final = (SubmissionState.DECIDED, SubmissionState.CANCELLED)
_files, _sent = tables.attachments, tables.submissions
_LANES: Final = tuple(Lane)  # the most urgent first
# Asked at each change of a submission, while an alert is on its way to the hub, and at each window:
# so an index answers both, whatever else waits.
_due = (table.c.decided == 1) & (table.c.due_ms <= BY_MS)
_URGENCY: Final = Statement(
    select(case(*((exists().where(_due, table.c.urgency == n), n) for n in range(len(_LANES)))))
)
_NEXT: Final = Statement(
    select(table)
    .where(
        _due,
        table.c.urgency == bindparam("of_urgency"),
        tuple_(table.c.due_ms, table.c.envelope_id) > tuple_(AFTER_MS, AFTER_ID),
    )
    .order_by(table.c.due_ms, table.c.envelope_id)
    .limit(1)
)
_TO_FORGET: Final = Statement(
    select(_files.c.submission_id)
    .join(_sent, _sent.c.id == _files.c.submission_id)
    .where(
        or_(*(_sent.c.state == str(state) for state in _OVER)),
        _files.c.submission_id.not_in(select(table.c.submission_id)),
    )
    .distinct()
)
_mine: Final = table.c.envelope_id == bindparam("of_envelope")
_LET_GO: Final = Statement(update(table).where(_mine).values(decided=1))
_DROPPED: Final = Statement(delete(table).where(_mine))


_EXPIRED: Final = "expired"  # as the hub calls it
_log = get_logger()


@dataclass
class _Way:
    """How far one envelope's files are, while this process brings them.

    Attributes:
        following: Of each file the next chunk; empty until the hub said it.
        brought: Whether the hub took the last of them; it has not said yet that all are there.
        noted: Of each file how far desks were told.
        without: Recipients for whom the hub has no room.
    """

    following: list[int] = field(default_factory=list)
    brought: bool = False
    noted: list[int] = field(default_factory=list)
    without: tuple[str, ...] = ()


@dataclass
class Uploads:
    """The files of what one node has sent."""

    present: Present
    database: Database
    vault: Vault
    staging: Staging
    link: Link
    changes: Changes  # Of submissions: wakes this task, and those who watch.
    _window: int = 1
    _settled: bool = False  # Whether anything was since the last look for what is over.
    _rounds: dict[int, Round] = field(default_factory=dict)  # By urgency; of one task alone,
    _ways: dict[str, _Way] = field(default_factory=dict)  # as this is: of what is under way.

    async def upload_for_ever(self) -> None:
        """Bring whatever is accepted to the hub, whenever it is there."""
        while True:
            ticket, moved = self.changes.ticket(), False
            try:
                await self.link.wait_connected()
                moved = await self._upload_next(self.present.now())
                if self._settled or not moved:  # it looks at every file here
                    await self.forget_over()
                    self._settled = False
            except BrokerError as error:
                _log.info("uploading-paused", error_code=error.code)
            if not moved:
                await wait_for_change(ticket, IDLE_S)

    async def upload_due(self) -> None:
        """Bring all that is due now to the hub; what it does not take now waits its time."""
        now = self.present.now()
        while await self._upload_next(now):
            pass

    async def accepted(self) -> list[Any]:
        """Return the rows of all envelopes whose files are to go, the most urgent first."""
        waiting = select(table).where(table.c.decided == 1)
        in_order = waiting.order_by(table.c.urgency, table.c.envelope_id)  # it begins with its time
        async with self.database.read() as connection:
            return list((await connection.execute(in_order)).all())

    async def _upload_next(self, by: datetime) -> bool:
        """Give the next envelope that is due its turn; return whether there was one."""
        async with self.database.read() as connection:
            row = await self._next(connection, to_ms(by))
        if row is None:
            self._ways.clear()  # whatever was under way is settled, put off or destroyed
            return False
        await self._upload(row, self._ways.setdefault(row.envelope_id, _Way()))
        return True

    async def _next(self, connection: AsyncConnection, by_ms: int) -> Any:  # noqa: ANN401 - a row
        """Return the row of the envelope that comes now, or None if none is due."""
        urgency = await _URGENCY.value(connection, by_ms=by_ms)
        if urgency is None:
            return None
        now = self._rounds.get(urgency, Round())
        row, self._rounds[urgency] = await next_in(
            connection, _NEXT, now, by_ms=by_ms, of_urgency=urgency
        )
        return row

    async def _upload(self, row: Any, way: _Way) -> None:  # noqa: ANN401 - a row
        """Bring an envelope's next chunks, or settle it; a fault of its own delays no other."""
        if self.present.clock_is_good and row.expires_ms <= to_ms(self.present.now()):
            _log.error("attachment-not-sent", id=row.envelope_id, error_code=_EXPIRED)
            await self._settle(row, SendingState.REFUSED, _EXPIRED)
            return
        try:
            whole = await self._bring(row, way)
        except BrokerError as error:
            self._ways.pop(row.envelope_id, None)  # the hub is asked again how far it is
            code = error.code
            if error.retry == "later":
                _log.info("attachment-waits", id=row.envelope_id, error_code=code)
                await self.database.change(lambda c: self._later(c, row, code))
                self.changes.happened()
            else:
                _log.error("attachment-not-sent", id=row.envelope_id, error_code=code)
                await self._settle(row, SendingState.REFUSED, code)
        else:
            if whole:
                _log.info("attachment-sent", id=row.envelope_id)
                await self._settle(row, SendingState.UPLOADED, LEFT_OUT if way.without else "")

    async def _bring(self, row: Any, way: _Way) -> bool:  # noqa: ANN401 - a row
        """Bring the next chunks that the hub has not; return whether it has all, as it says itself.

        What it took may be lost there since, so it is asked once more after the last chunk.

        Raises:
            BrokerError: The hub refused, or did not answer.
        """
        ident, submission_id = UUID(row.envelope_id), UUID(row.submission_id)
        key = self.vault.open(row.sealed, name=f"upload/{ident}")
        files = await self.staging.of_submission(submission_id)
        hub = AttachmentServices(self.link, self.present.member)
        counts = [manifest.chunks for _, manifest in files]
        if not way.following:
            opened = Opened(ident, tuple(counts), from_ms(row.expires_ms))
            begun = await hub.open(opened)
            way.following = list(begun.next)
            if begun.without != way.without:
                way.without = begun.without
                await self._say_left_out(row.envelope_id, begun.without)
            way.noted = list(way.following)
            for number, start in enumerate(way.following):
                await self._note(submission_id, number, start)
            if way.following == counts:
                return True
            if way.brought:  # a hub that loses what it took keeps no other file waiting for this
                way.brought = False
                _log.warning("chunks-lost-at-hub", id=row.envelope_id)
                await self.database.change(lambda c: self._later(c, row, ""))
                return False
        for number, (staged, manifest) in enumerate(files):
            start = way.following[number]
            if start < manifest.chunks:
                window = range(start, min(start + self._window, manifest.chunks))
                await self._put(hub, ident, key, number, staged, manifest, window)
                way.following[number] = stop = window.stop
                if stop - way.noted[number] >= NOTED_EVERY or stop == manifest.chunks:
                    await self._note(submission_id, number, stop)
                    way.noted[number] = stop
                break
        if way.following == counts:
            way.following, way.brought = [], True
        return False

    async def _say_left_out(self, ident: str, members: Sequence[str]) -> None:
        """Raise an alarm for each recipient that gets none of an alert's files."""
        now = self.present.now()

        async def change(connection: AsyncConnection) -> None:
            for member in members:
                await alarms.raise_alarm(connection, LEFT_OUT, now=now, peer=member, ident=ident)

        _log.warning(LEFT_OUT, id=ident, members=len(members))
        await self.database.change(change)

    async def _put(  # noqa: PLR0917 - all that a chunk is
        self,
        hub: AttachmentServices,
        ident: UUID,
        key: bytes,
        number: int,
        staged: UUID,
        manifest: Manifest,
        window: range,
    ) -> None:
        loop = asyncio.get_running_loop()
        own, started = file_key(key, number), loop.time()

        async def one(index: int) -> None:
            plain = await self.staging.chunk(staged, index)
            sealed = await asyncio.to_thread(seal_chunk, own, manifest, number, index, plain)
            await hub.put(Put(ident, number, index, sealed))

        done = await asyncio.gather(*(one(index) for index in window), return_exceptions=True)
        for failed in done:
            if failed is not None:
                raise failed
        self._window = WINDOW if loop.time() - started < QUICK_S else 1

    async def _note(self, submission_id: UUID, number: int, uploaded: int) -> None:
        change = {"uploaded": uploaded, "state": SendingState.UPLOADING, "code": ""}

        async def save(connection: AsyncConnection) -> None:
            await _progress(connection, submission_id, change, number=number + 1)

        await self.database.change(save)
        self.changes.happened()

    async def _later(self, connection: AsyncConnection, row: Any, code: str) -> None:  # noqa: ANN401
        due_ms = to_ms(self.present.now() + (SOON if code in _SOON else AGAIN))
        await connection.execute(
            update(table).where(table.c.envelope_id == row.envelope_id).values(due_ms=due_ms)
        )
        await _progress(connection, UUID(row.submission_id), {"code": code})

    async def _settle(self, row: Any, state: SendingState, code: str) -> None:  # noqa: ANN401
        async def change(connection: AsyncConnection) -> None:
            await connection.execute(delete(table).where(table.c.envelope_id == row.envelope_id))
            others = table.c.submission_id == row.submission_id  # sealed again for somebody
            more = (await connection.execute(select(table.c.envelope_id).where(others))).first()
            settled = state if more is None else SendingState.WAITING
            await _progress(connection, UUID(row.submission_id), {"state": settled, "code": code})
            if state is SendingState.REFUSED:
                await alarms.raise_alarm(
                    connection,
                    "attachment-not-sent",
                    now=self.present.now(),
                    ident=row.envelope_id,
                    detail=code,
                )

        await self.database.change(change)
        self._ways.pop(row.envelope_id, None)
        self._settled = True
        self.changes.happened()

    async def forget_over(self) -> None:
        """Delete the files of submissions from which nothing more can go to the hub."""
        async with self.database.read() as connection:
            found = [UUID(row.submission_id) for row in await _TO_FORGET.rows(connection)]
        for submission_id in found:
            await self.database.change(_dropped(submission_id))
            await self.staging.forget_of(submission_id)
            self.changes.happened()


async def expect_upload(
    connection: AsyncConnection,
    vault: Vault,
    submission: Submission,
    ident: UUID,
    key: bytes,
    *,
    expires_ms: int,
) -> None:
    """Note, in the change that seals an envelope, that its files will go to the hub."""
    if submission.attachments:
        await connection.execute(
            insert(table).values(
                envelope_id=str(ident),
                submission_id=str(submission.submission_id),
                decided=0,
                expires_ms=expires_ms,
                due_ms=0,
                sealed=vault.seal(key, name=f"upload/{ident}"),
                urgency=_LANES.index(submission.lane),
            )
        )


async def decided_upload(connection: AsyncConnection, ident: UUID, *, accepted: bool) -> None:
    """Let an envelope's files go, or not, in the change that stores its decision."""
    await (_LET_GO if accepted else _DROPPED).run(connection, of_envelope=str(ident))


async def _progress(
    connection: AsyncConnection,
    submission_id: UUID,
    change: Mapping[str, object],
    *,
    number: int | None = None,
) -> None:
    submission = await _known(connection, submission_id)
    if submission is None:
        return
    moved = tuple(
        each.model_copy(update=change) if number in (None, each.number) else each
        for each in submission.attachments
    )
    if moved != submission.attachments:
        await submissions.save(connection, submission.model_copy(update={"attachments": moved}))


async def _known(connection: AsyncConnection, submission_id: UUID) -> Submission | None:
    """Return a submission, or None if the disk changed it: its files go, and nothing tells so."""
    try:
        return await submissions.find(connection, submission_id)
    except (StoreError, NodeError):
        return None


def _dropped(submission_id: UUID) -> Any:  # noqa: ANN401 - a change
    async def change(connection: AsyncConnection) -> None:
        submission = await _known(connection, submission_id)
        for each in () if submission is None else submission.attachments:
            if not each.state.final:
                gone = {"state": SendingState.DROPPED, "code": ""}
                await _progress(connection, submission_id, gone, number=each.number)

    return change
