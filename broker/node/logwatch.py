"""The node and the log: cosigns its growth, copies it, and asks it for its own messages."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.log.checkpoint import parse_checkpoint
from broker.log.cosignature import instant
from broker.log.errors import LogError
from broker.log.note import parse_note
from broker.log.regional import regional_policy
from broker.log.witness import Seen
from broker.logs import get_logger
from broker.node import proofs
from broker.node.alarms import raise_alarm
from broker.node.cosigner import Cosigner
from broker.node.directorygate import DirectoryGate
from broker.node.held import HeldMail
from broker.node.ids import from_ms
from broker.node.lending import Lending
from broker.node.logevidence import LogEvidence
from broker.node.logstate import copied_of, first_of, seen_of
from broker.node.mirror import Mirror, is_damage
from broker.node.pacing import rest_s
from broker.node.present import Present
from broker.node.suspects import Suspects
from broker.store.database import Database, StoreError
from broker.store.tilefiles import TileFiles
from broker.transport.link import Link
from keys.errors import KeysError
from schemas.desk import LogShown
from schemas.errors import SchemaError

POLL_S: Final = 10.0
HASTE_S: Final = 1.0  # while something of ours has no proof yet
NOT_KEPT: Final = "evidence-not-kept"
COMPARE_S: Final = 600.0  # 85 kB each time at most, which a line of 64 kbit/s bears
_log = get_logger()


@dataclass
class LogWatch:
    """One node's part in the log. Without a log in the directory it does nothing.

    Attributes:
        folder: Where the copy of the log lies.
        gate: Lets a newer directory count once the copy proves it.
        compare_s: Seconds between two looks at whether the hub still shows what it showed.
        held: Mail that is opened on the log's word alone.
        waiting: Decisions about our mail that have no proof yet.
    """

    present: Present
    database: Database
    link: Link
    seed: bytes
    folder: Path
    gate: DirectoryGate
    compare_s: float = COMPARE_S
    held: HeldMail | None = None
    next_seed: bytes = b""
    waiting: int = 0
    _compared_at: float = -math.inf  # By the loop's clock.
    _proved_to: proofs.Place = proofs.FIRST  # Where the next look at unproved mail begins.

    def __post_init__(self) -> None:
        """Join the halves."""
        self.evidence = evidence = LogEvidence(self.folder.parent / "evidence" / "log")
        self.files = TileFiles(self.folder)
        self.suspects = Suspects(self.present, self.database, self.files, evidence)
        self.cosigner = Cosigner(
            self.present,
            self.database,
            self.link,
            self.seed,
            evidence,
            self.suspects,
            Lending(self.files),
            next_seed=self.next_seed,
        )
        self.mirror = Mirror(self.present, self.database, self.link, self.files, evidence)

    async def run(self) -> None:
        """Do it for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.link.wait_connected()
                began = loop.time()
                await self.step()
                waits = self._owed() or self.present.candidate is not None
                pause_s = HASTE_S if waits else min(POLL_S, self.compare_s)
            except (BrokerError, SchemaError, KeysError) as error:
                _log.info("log-watch-paused", error_code=error.code)
                pause_s = HASTE_S
                await self._prove_alone()
            await asyncio.sleep(rest_s(loop.time() - began, pause_s))

    async def step(self) -> None:
        """Cosign, copy and prove once.

        Raises:
            BrokerError: The hub does not answer, or shows what was not signed.
        """
        try:
            await self._step()
        except StoreError as error:
            if not is_damage(error):
                raise
            await self.mirror.repair()

    async def _step(self) -> None:
        await self._say_lost()
        await self.cosigner.round()
        await self.mirror.follow()
        await self.gate.settle()
        await self.prove()
        if self.held is not None:
            await self.held.settle()
        await self._compare_if_due()
        await self.cosigner.exchange()
        if self.present.has_directory and self.present.view.hub.log is not None:
            copied, _ = await self.mirror.sizes(self.present.view.hub.log.origin)
            await self.suspects.check(copied)

    async def _say_lost(self) -> None:
        """Raise an alarm if evidence found no room; again, until the database has it."""
        lost = self.evidence.lost
        if not lost.is_set():
            return
        lost.clear()
        _log.error(NOT_KEPT, alarm=NOT_KEPT)
        now, detail = self.present.now(), str(self.evidence.folder)
        try:
            await self.database.change(lambda c: raise_alarm(c, NOT_KEPT, now=now, detail=detail))
        except StoreError:
            lost.set()
            raise

    def _owed(self) -> int:
        """Return how many decisions about our mail wait for the log."""
        return self.waiting + (0 if self.held is None else self.held.waiting)

    async def _compare_if_due(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._compared_at >= self.compare_s:
            self._compared_at = now_s
            await self.mirror.compare()

    async def prove(self) -> None:
        """Prove what can be proved, and say what is overdue.

        Raises:
            StoreError: The database or the copy cannot be used.
        """
        if not self.present.has_directory or self.present.view.hub.log is None:
            return
        view, now = self.present.view, self.present.now()
        origin = self.present.view.hub.log.origin
        after = self._proved_to
        self.waiting, self._proved_to = await self.database.change(
            lambda c: proofs.prove(c, origin, self.files, view, now=now, after=after)
        )

    async def shown(self) -> LogShown | None:
        """Return how the log stands with this node; None where there is none."""
        if not self.present.has_directory or self.present.view.hub.log is None:
            return None
        now, origin = self.present.now(), self.present.view.hub.log.origin
        async with self.database.read() as connection:
            try:
                seen, _ = await seen_of(connection, origin)
            except StoreError:  # an alarm says so, and needs this answer to be seen
                self.database.met_damage()
                seen = Seen()
            copy = await copied_of(connection, origin)
            first = await first_of(connection, origin)
            proved, waiting, overdue = await proofs.counted(connection)
        names: tuple[str, ...] = ()
        newest = 0
        root = ""
        total = len(self.present.view.witnesses_at(now))
        if copy.note:
            root = parse_checkpoint(parse_note(copy.note).text).root.hex()
            try:
                cosigned = regional_policy(self.present.view, at=now).verify_log(copy.note).cosigned
            except LogError:  # the keys changed since; the next one is under the new ones
                cosigned = {}
            names = tuple(sorted(name.decode() for name in cosigned))
            newest = max(cosigned.values(), default=0)
        return LogShown(
            origin=origin,
            cosigned_size=seen.size,
            cosigned_at=from_ms(seen.time_s * 1000) if seen.time_s else None,
            copied=copy.size,
            proven=copy.proven,
            root=root,
            witnesses=total,
            cosigned_by=names,
            witnessed_at=instant(newest) if newest else None,
            own_proved=proved,
            own_waiting=waiting,
            own_overdue=overdue,
            first_size=first[0],
            first_root=first[1],
        )

    async def _prove_alone(self) -> None:
        """Say what is overdue even while the hub does not answer."""
        try:
            await self.gate.settle()
            await self.prove()
        except (BrokerError, SchemaError, KeysError) as error:
            _log.error("log-not-proved", error_code=error.code)
