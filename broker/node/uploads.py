"""Brings attached files to the hub, once the gateway has accepted their alert for somebody.

An alert never waits for its files: they go by a task of their own, few chunks at a time on a slow
line. Those of urgent alerts go before all others, and of alerts that are as urgent as each other in
turn, a window each: so no film keeps a photograph waiting. The hub says where to go on, so nothing
is kept of how far this is; and the chunks of one envelope are always sealed to the same bytes,
since a place in it determines key and nonce.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.chunks import file_key, seal_chunk
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, submissions
from broker.node.changes import Changes, wait_for_change
from broker.node.errors import NodeError
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
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
NOTED_EVERY: Final = 32  # chunks between two notes of how far it is
_OVER: Final = (SubmissionState.DECIDED, SubmissionState.CANCELLED)
_EVER_MS: Final = 2**62
_files, _sent = tables.attachments, tables.submissions
# Asked at each change of a submission, while an alert is on its way to the hub.
_DUE: Final = Statement(
    select(table).where(table.c.decided == 1, table.c.due_ms <= bindparam("by_ms"))
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
_URGENCY: Final = {lane: place for place, lane in enumerate(Lane)}
_log = get_logger()


@dataclass
class _Way:
    """How far one envelope's files are, while this process brings them.

    Attributes:
        turn: When it last had one; 0 if never.
        following: Of each file the next chunk; empty until the hub said it.
        noted: Of each file how far desks were told.
    """

    lane: Lane
    turn: int = 0
    following: list[int] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)


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
    _turn: int = 0
    _ways: dict[str, _Way] = field(default_factory=dict)  # Of what is due; of one task alone.

    async def upload_for_ever(self) -> None:
        """Bring whatever is accepted to the hub, whenever it is there."""
        while True:
            ticket, moved = self.changes.ticket(), False
            try:
                await self.link.wait_connected()
                moved = await self._upload_next(self.present.now())
                await self.forget_over()
            except BrokerError as error:
                _log.info("uploading-paused", error_code=error.code)
            if not moved:
                await wait_for_change(ticket, IDLE_S)

    async def upload_due(self) -> None:
        """Bring all that is due now to the hub; what it does not take now waits its time."""
        now = self.present.now()
        while await self._upload_next(now):
            pass

    async def due(self, by: datetime | None = None) -> list[Any]:
        """Return the rows of accepted envelopes whose files go next, the most urgent first.

        Args:
            by: Leave out those that wait for a later time; None for none.
        """
        by_ms = _EVER_MS if by is None else to_ms(by)
        async with self.database.read() as connection:
            rows = await _DUE.rows(connection, by_ms=by_ms)
            self._ways = {
                row.envelope_id: self._ways.get(row.envelope_id)
                or _Way(await self._lane(connection, UUID(row.submission_id)))
                for row in rows
            }
        return sorted(rows, key=self._place)

    async def _lane(self, connection: AsyncConnection, submission_id: UUID) -> Lane:
        """Return how urgent a submission is; one that cannot be read goes between the others."""
        try:
            return (await submissions.find(connection, submission_id)).lane
        except StoreError:
            self.database.met_damage()
        except NodeError:
            pass
        return Lane.NORMAL

    def _place(self, row: Any) -> tuple[int, int, str]:  # noqa: ANN401 - a row
        way = self._ways[row.envelope_id]
        return _URGENCY[way.lane], way.turn, row.envelope_id  # an id begins with its time

    async def _upload_next(self, by: datetime) -> bool:
        """Give the next envelope that is due its turn; return whether there was one."""
        rows = await self.due(by)
        if not rows:
            return False
        row, self._turn = rows[0], self._turn + 1
        way = self._ways[row.envelope_id]
        way.turn = self._turn
        await self._upload(row, way)
        return True

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
                await self._settle(row, SendingState.UPLOADED, "")

    async def _bring(self, row: Any, way: _Way) -> bool:  # noqa: ANN401 - a row
        """Bring the next chunks that the hub has not; return whether it has all.

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
            way.following = list(await hub.open(opened))
            way.noted = list(way.following)
            for number, start in enumerate(way.following):
                await self._note(submission_id, number, start)
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
        return way.following == counts

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
