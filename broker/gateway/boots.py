"""Gives back the numbers of runs that ended without saying so: an honest crash is no fraud.

While it runs, a worker writes down from where in the streams its open numbers would be found. The
next run of the same worker reads from there, and voids the numbers that nothing stands under. So
does any other worker, where no such run comes: the hub may run fewer of them now.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import Field

from broker import clock
from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.log.erasure import is_erasure
from broker.log.rebuilt import is_rebuilt
from broker.logs import get_logger
from broker.store.digested import read_digested, write_digested
from broker.transport.link import Link
from broker.transport.streamstates import stream_states, streams_seen
from keys.errors import KeyFileError
from keys.files import make_private_folder
from schemas.label import Strict

TICK_S: Final = 10.0
MAX_TICKS: Final = 64
ABANDONED_AFTER_S: Final = 60.0  # without a tick; a worker that begins again is there sooner
GIVES_UP_AFTER_S: Final = 45.0  # without a tick: sooner than others give its numbers back
READ_TOGETHER: Final = 64
DAMAGED: Final = "runs-damaged"
_MAX_BYTES: Final = 1024 * 1024
_log = get_logger()


class Run(Strict):
    """One run of a worker.

    Attributes:
        boot: 64 bits in hexadecimal.
        low: Every number below it is settled.
        after: Numbers from `low` on stand, if anywhere, behind these messages of the streams.
    """

    boot: str = Field(pattern=r"^[0-9a-f]{16}$")
    low: int = Field(ge=0)
    after: dict[str, int]


class _Runs(Strict):
    runs: tuple[Run, ...] = ()


@dataclass
class Boots:
    """The runs of one worker, in a file of its own.

    Attributes:
        check_clock: As `Timepiece.check`.
    """

    path: Path
    link: Link
    decider: Decider
    trail: record.AuditTrail
    steady: Callable[[], float] = time.monotonic
    check_clock: Callable[[], None] = lambda: None
    _earlier: tuple[Run, ...] = ()
    _ticks: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    _since: float = 0.0  # From then on this worker was heard without a break.
    _ticked: float = 0.0
    _damaged: set[Path] = field(default_factory=set)  # Files of others, said once.
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)  # Written, and seen so.

    async def begin(self) -> None:
        """Write this run down before it takes a number; to be called once.

        Raises:
            BrokerError: The server does not answer, or `damaged`.
            KeyFileError: The file cannot be written: the worker must not run.
        """
        make_private_folder(self.path.parent)
        self._earlier = read_runs(self.path)
        self._since = self._ticked = self.steady()
        await self._tick()

    def check_heard(self) -> None:
        """Return if others still hear of this run, and its clock is right.

        Raises:
            BrokerError: `run-abandoned`: its open numbers may be void by now; `clock-wrong`. End
                the process, and begin another run.
        """
        self.check_clock()
        if self.steady() - self._ticked > GIVES_UP_AFTER_S:
            raise BrokerError("run-abandoned", "nobody has heard of this run for too long")

    async def run(self) -> None:
        """Void what earlier runs left open, and keep this one's place, for ever.

        Raises:
            BrokerError: `run-abandoned`, `clock-wrong`.
        """
        while True:
            await self.link.wait_connected()
            self.check_heard()
            try:
                await (
                    self._tick()
                )  # first: what others left must not keep this run from being heard
                await self._settle_abandoned()
                for run in self._earlier:
                    voided = await self._void(run, self.decider.gateway)
                    _log.info("run-settled", boot=run.boot, voided=voided)
                    self._earlier = tuple(each for each in self._earlier if each != run)
            except (BrokerError, KeyFileError) as error:
                _log.warning("runs-not-kept", error_code=error.code)
            await asyncio.sleep(TICK_S)

    async def _tick(self) -> None:
        # First the number, then the streams: what is taken from now on stands behind them.
        seen = await streams_seen(self.link, "audit.>")
        before = self._ticks[-1][1] if self._ticks else {}
        # Of a stream for which no server speaks, what was known last: that is only more to read.
        silent = {name: seq for name, seq in before.items() if name in seen.silent}
        spoken = {name: state.last_seq for name, state in seen.states.items()}
        self._ticks.append((self.decider.next_number, silent | spoken))
        low = self.decider.settled_below
        while len(self._ticks) > 1 and self._ticks[1][0] <= low:
            del self._ticks[0]
        del self._ticks[1 : len(self._ticks) - MAX_TICKS]  # never the first: it is the one in force
        number, after = self._ticks[0]
        own = Run(boot=f"{self.decider.boot:016x}", low=number, after=after)
        runs = _Runs(runs=(*self._earlier, own))
        self.check_heard()
        write_digested(self.path, runs)
        self._ticked = self.steady()

    async def _settle_abandoned(self) -> None:
        """Void what workers left open of whom nobody has heard for long, and forget them.

        Where the server was away for all of them, nobody was heard, and nobody is gone: so this
        worker was itself heard without a break for as long.
        """
        silent = self._silent()
        if self._ticked - self._since < ABANDONED_AFTER_S:
            return
        for path in silent:
            if _written_ns(path) != self._seen[path][0]:  # while others were settled
                continue
            for run in self._of_another(path):
                voided = await self._void(run, path.stem)
                _log.info("run-settled", gateway=path.stem, boot=run.boot, voided=voided)
            if path not in self._damaged:
                path.unlink(missing_ok=True)

    def _silent(self) -> list[Path]:
        """Return the files of others that were not written while this worker looked for so long.

        How old they are by the clock on the wall says nothing: it may just have been put right.
        """
        others = sorted(self.path.parent.glob(f"*{self.path.suffix}"))
        now, before = self.steady(), self._seen
        self._seen = {
            path: (at, before[path][1] if path in before and before[path][0] == at else now)
            for path in others
            if path != self.path and (at := _written_ns(path)) is not None
        }
        return [path for path, (_, at) in self._seen.items() if now - at >= ABANDONED_AFTER_S]

    def _of_another(self, path: Path) -> tuple[Run, ...]:
        """Return the runs in another worker's file; none if it cannot be read, which is said once.

        Then its worker does not begin, and a person must look. Nobody else ends by it.
        """
        try:
            found = read_runs(path)
        except (BrokerError, KeyFileError) as error:
            if path not in self._damaged:
                _log.error(DAMAGED, gateway=path.stem, error_code=error.code, alarm=DAMAGED)
            self._damaged.add(path)
            return ()
        self._damaged.discard(path)
        return found

    async def _void(self, run: Run, gateway: str) -> int:
        """Void every number of `gateway` between those that stand; return how many.

        None where a record was erased or lost since: it may have been of a number that is missed
        here, and the log, which knows, gives back those that are free (`broker.ledger.holes`).
        """
        stands: set[int] = set()
        gone = False
        boot = int(run.boot, 16)
        for name, state in (await stream_states(self.link, "audit.>")).items():
            first = run.after.get(name, 0) + 1
            for start in range(first, state.last_seq + 1, READ_TOGETHER):
                stop = min(start + READ_TOGETHER, state.last_seq + 1)
                read = (self.link.get(name, seq) for seq in range(start, stop))
                there = [each.payload for each in await asyncio.gather(*read) if each is not None]
                gone = gone or any(is_erasure(raw) or is_rebuilt(raw) for raw in there)
                stands |= {
                    said.seq
                    for said in map(record.said_in, there)
                    if said is not None and (said.gateway, said.boot) == (gateway, boot)
                }
        missing = sorted(set(range(run.low, max(stands, default=run.low))) - stands)
        if gone and missing:
            _log.warning("numbers-left-to-the-log", gateway=gateway, count=len(missing))
            return 0
        for seq in missing:
            void = self.decider.void_of(boot, seq, now=clock.now(), gateway=gateway)
            await self.trail.stand(record.void(void.statement), void.to_bytes())
        return len(missing)


def read_runs(path: Path) -> tuple[Run, ...]:
    """Return what stands in a worker's file; nothing if there is none.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    return (read_digested(path, _Runs, max_bytes=_MAX_BYTES) or _Runs()).runs


def _written_ns(path: Path) -> int | None:
    """Return when a worker wrote its file, to be compared; None if it was just taken away."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
