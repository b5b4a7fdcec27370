"""The sequencer: reads the gateways' decisions in order, and grows the log by them.

It reads by number, from a place that stands in the log's own database, so that a stream which
lost, repeats or restarts its messages cannot fork what was signed: it can only be noticed.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from broker import clock
from broker.ledger import resuming
from broker.ledger.commit import SIGNER_AHEAD, Committer, Entry
from broker.ledger.errors import LedgerError
from broker.ledger.holes import Holes
from broker.ledger.intake import GatewayKey, Noticed, Witnessed
from broker.ledger.reading import AUDIT, AuditReader, Batch
from broker.ledger.snapshots import Snapshots
from broker.ledger.state import VOID_BY_LOG, Beside, Position
from broker.log.leaf import KIND_AT, LeafKind, parse_leaf
from broker.logs import get_logger
from broker.transport.errors import TransportError
from broker.transport.link import Link
from broker.transport.streams import years_at
from broker.transport.streamstates import stream_states
from schemas.label import DirectoryVersion

LOOK_S: Final = 0.05  # how often the streams are asked how far they are
_log = get_logger()
_shuffle = secrets.SystemRandom().shuffle


Agreed = Callable[[int], Coroutine[Any, Any, None]]
"""Returns once enough witnesses showed what they cosigned, and a log of this size may grow."""


@dataclass(frozen=True)
class Cadence:
    """When the log grows: as soon as so many leaves wait, or the oldest has waited so long.

    Attributes:
        integrate_leaves: So many.
        integrate_s: So long.
        growth_leaves: Most leaves of one growth; behind a backlog it grows by so many at a time.
    """

    integrate_leaves: int = 256
    integrate_s: float = 0.25
    growth_leaves: int = 4096


@dataclass
class Sequencer:
    """Orders the leaves of one log. A second one stops at its first step.

    Attributes:
        agreed: Asked before the first growth; None where there is nobody to ask.
        refuted: Whether what a witness showed since forbids growth, whatever an operator lets.
        directory: The one that the hub publishes.
    """

    link: Link
    committer: Committer
    gateway_keys: Callable[[], Sequence[GatewayKey]]
    pen: Witnessed
    agreed: Agreed | None = None
    cadence: Cadence = field(default_factory=Cadence)
    directory: Callable[[], DirectoryVersion] | None = None
    refuted: Callable[[], bool] = lambda: False

    async def run(self) -> None:
        """Recover, then grow the log for ever; what comes next is read while the last is signed.

        Raises:
            ExceptionGroup: Of LedgerError or StoreError: end the process, and let a person look
                where it says so.
        """
        state = self.committer.state
        size = await self._recovered()
        _log.info("log-recovered", size=size)
        await state.keep_years(years_at(clock.now()))
        if self.agreed is not None:  # an empty log too: it may come out of its first backup
            allowed = await resuming.agreed_or_allowed(
                self.agreed(size), state, size, refuted=self.refuted
            )
            size = (await self.committer.recover()).size  # members may have given leaves back
            size = await self.append(size, Batch(allowed.noticed), allowed.marks)
        size = await self.resume(size)
        positions = await state.positions()
        batches: asyncio.Queue[Batch] = asyncio.Queue(1)  # full: the reader waits
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_for_ever(positions, batches))
                group.create_task(self._grow_for_ever(size, batches))
        except asyncio.CancelledError:
            await self.committer.show_checkpoint()
            raise

    async def _recovered(self) -> int:
        """Return the log's size; of what the signer alone remembers, members may have the leaves.

        Raises:
            LedgerError: As `Committer.recover`.
        """
        try:
            return (await self.committer.recover()).size
        except LedgerError as error:
            if error.code != SIGNER_AHEAD or self.agreed is None:
                raise
            return (await self.committer.state.locked()).size  # after the witnesses, once more

    async def resume(self, size: int) -> int:
        """Read anew what an operator let it read anew, and say so; return the log's new size.

        Raises:
            LedgerError: As `append`.
            TransportError: The server did not answer; nothing happened.
        """
        state = self.committer.state
        positions, marks = await state.positions(), await state.marks()
        states = await stream_states(self.link, AUDIT)
        allowed = resuming.after_reset(positions, marks, states)
        return await self.append(size, Batch(allowed.noticed, allowed.read), allowed.marks)

    async def step(self, size: int) -> int:
        """Append what was decided since; return the log's new size.

        Raises:
            LedgerError: `stream-reset`: a stream is not the one that was read, is shorter, or gone.
            TransportError: The server did not answer; nothing happened.
        """
        positions = await self.committer.state.positions()
        batch = await self._reader().read(positions, self.cadence.growth_leaves)
        return await self.append(size, batch)

    async def append(
        self, size: int, batch: Batch, marks: Mapping[str, str | None] | None = None
    ) -> int:
        """Append what was read; return the log's new size.

        Args:
            size: Of the log.
            batch: May be empty.
            marks: Remembered, or forgotten, with it.

        Raises:
            LedgerError: End the process.
            StoreError: Likewise.
        """
        beside = Beside(batch.subjects, marks or {})
        fresh = await self._fresh(batch.entries)
        if fresh:
            _shuffle(fresh)  # so that an order within a batch tells nothing
            return (await self.committer.grow(size, fresh, batch.read, beside)).size
        if batch.read or beside.marks:
            await self.committer.state.read_on(batch.read, beside)
        return size

    async def _read_for_ever(
        self, before: Mapping[str, Position], batches: asyncio.Queue[Batch]
    ) -> None:
        reader, positions, loop = self._reader(), dict(before), asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                batch = await reader.read(positions, self.cadence.growth_leaves)
                if batch.read:
                    positions |= batch.read
                    await batches.put(batch)
                await self._until_due(reader, positions, began)
            except TransportError as error:
                if error.retry != "later":
                    raise
                _log.warning("streams-not-read", error_code=error.code)
                await asyncio.sleep(LOOK_S)
                await self.link.wait_connected()

    async def _until_due(
        self, reader: AuditReader, positions: Mapping[str, Position], began: float
    ) -> None:
        """Return as soon as enough leaves wait, or after so long."""
        loop = asyncio.get_running_loop()
        while await reader.waiting(positions) < self.cadence.integrate_leaves:
            left_s = began + self.cadence.integrate_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, LOOK_S))

    async def _grow_for_ever(self, size: int, batches: asyncio.Queue[Batch]) -> None:
        state = self.committer.state
        before = await state.marks()
        snapshots, holes = Snapshots.of(before), Holes(self.pen, state, self.committer.now)
        holes.remember(before)
        while True:
            try:
                async with asyncio.timeout(self.cadence.integrate_s):
                    batch = await batches.get()
            except TimeoutError:
                batch = Batch()
            marks = holes.seen(batch.entries)
            if voided := await holes.voided(batch.entries):
                batch = replace(batch, entries=(*batch.entries, *voided))
            if self.directory is not None and (new := snapshots.taken(self.directory)):
                batch = replace(batch, entries=(*batch.entries, new))
                marks |= snapshots.marks()
            if not batch.messages and not batch.entries:
                await self.committer.show_if_due()
                continue
            # Not in a TaskGroup: a stop that comes meanwhile waits for this growth, whole.
            growing = asyncio.get_running_loop().create_task(self.append(size, batch, marks))
            try:
                size = await asyncio.shield(growing)
            except asyncio.CancelledError:
                await growing
                raise

    def _reader(self) -> AuditReader:
        return AuditReader(self.link, self.gateway_keys, self.pen)

    async def _fresh(self, entries: Sequence[Entry | Noticed]) -> list[Entry]:
        """Return the entries whose number no leaf has.

        The same statement found again is no second one; another under its number is a fault.
        """
        asked = [entry.number for entry in entries if isinstance(entry, Entry)]
        known = await self.committer.state.known(asked)
        fresh: list[Entry] = []
        for each in entries:
            if isinstance(each, Noticed):
                fresh.append(self.pen.leaf(each, now=clock.now()))
            elif each.number not in known:
                known[each.number] = each.number.said
                fresh.append(each)
            elif known[each.number] != each.number.said and not (
                known[each.number] == VOID_BY_LOG and each.raw[KIND_AT] == LeafKind.VOID
            ):
                fresh.append(self.pen.leaf(_contradicts(each), now=clock.now()))
        return fresh


def _contradicts(entry: Entry) -> Noticed:
    """Return the fault of a gateway that said two things under one number."""
    leaf, digest = parse_leaf(entry.raw), entry.number.said
    _log.error("number-repeated", gateway=entry.number.gateway, leaf=digest, alarm="leaf-fault")
    return Noticed(LeafKind.FAULT, bytes.fromhex(digest), leaf.stream, leaf.stream_seq)
