"""`make bench`: everything measured in one run on this machine, as a table and as JSON.

    python -m tests.bench [PARTS]      letters of the parts, all of them if not given

FULL=1 takes the counts whose numbers are published; without it, counts are reduced so that all of
it takes about five minutes on a quiet machine. SYNC=always or SYNC=default takes one of the two
settings of the server's store; MINUTES=60 ends the measurement of memory, which takes hours with
full counts, after that time under each setting, and says how many went through. Nothing here
passes or fails: it says what is so, and the goal. A part that cannot be measured says so, and the
others go on. What is asked for and is not there is refused, with exit status 2.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from broker import clock
from tests.bench import (
    backlog,
    bare,
    cores,
    gateways,
    latency,
    ledger,
    memory,
    mesh,
    region,
)
from tests.bench.asked import PARTS, SYNCS, AskedError, asked
from tests.bench.counts import Counts
from tests.bench.results import Part, table
from tests.bench.stage import Stage, running

FOLDER = Path("build/bench")
PART_LIMIT_S = {"reduced": 600.0, "full": 6 * 3600.0}


@dataclass
class Run:
    """One run: what to measure, and what was found."""

    counts: Counts
    parts: str = PARTS
    file: Path | None = None
    syncs: tuple[str, ...] = SYNCS
    memory_limit_s: float | None = None
    found: list[dict[str, Any]] = field(default_factory=list)
    head: str = ""

    def __post_init__(self) -> None:
        """Say what was asked of which machine, and how busy that was with other things."""
        count, busy = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        self.head = f"{self.counts.name} counts, {count} cores, load {busy:.1f} at the start"
        if commit := _commit():
            self.head += f", commit {commit}"

    async def all(self, folder: Path) -> None:
        """Measure everything asked for; `folder` is short, since sockets lie in it."""
        eleven = await asyncio.to_thread(region.found, folder / "r")
        if "c" in self.parts:
            count = self.counts.cores
            measuring = asyncio.to_thread(cores.measure, eleven, folder, count=count)
            await self._note("c", "", measuring)
        if set(self.parts) & set("abdefg"):
            for sync in self.syncs:
                async with running(eleven, sync) as stage:
                    await self._on_server(stage, sync)
        if "h" in self.parts:
            counts = self.counts
            alone = ledger.measure_store(appended=counts.appended, audited=counts.audited)
            await self._note("h", "", alone)
            logged = await asyncio.to_thread(region.found, folder / "l", ledger.MEMBERS, log=True)
            for sync in self.syncs:
                async with running(logged, sync) as stage:
                    measuring = ledger.measure(
                        stage, count=counts.gateway, rounds=counts.rounds, seconds=counts.proven_s
                    )
                    await self._note("h", sync, measuring)

    async def _on_server(self, stage: Stage, sync: str) -> None:
        counts = self.counts
        await bare.make_streams(stage.hub)
        if "a" in self.parts:
            measuring = gateways.measure(stage, count=counts.gateway, rounds=counts.rounds)
            await self._note("a", sync, measuring)
        if "b" in self.parts:
            await self._note("b", sync, latency.measure(stage, count=counts.latency))
        if "d" in self.parts:
            await self._note("d", sync, mesh.measure(stage, each=counts.mesh))
        if set(self.parts) & set("ef"):
            first = 1 + counts.backlog * self.syncs.index(sync)  # after those of an earlier run
            measuring = backlog.measure(stage, count=counts.backlog, first=first)
            await self._note("e", sync, measuring)
        if "g" in self.parts:
            await self._memory(stage, sync)

    async def _memory(self, stage: Stage, sync: str) -> None:
        counts, limit_s = self.counts, self.memory_limit_s
        shares = (None, None) if limit_s is None else (limit_s * 2 / 3, limit_s / 6)
        gateway = memory.measure_gateway(stage, labels=counts.labels, limit_s=shares[0])
        await self._note("g", sync, gateway)
        first = 1 + counts.received * self.syncs.index(sync)  # after those of an earlier run
        nodes = memory.measure_node(
            stage, received=counts.received, sent=counts.sent, first=first, limit_s=shares[1]
        )
        await self._note("g", sync, nodes)

    async def _note(
        self, name: str, sync: str, measuring: Awaitable[Part | Sequence[Part]]
    ) -> None:
        """Keep and print what a part found, or that it could not be measured."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(PART_LIMIT_S.get(self.counts.name)):
                found = await measuring
            parts = [found] if isinstance(found, Part) else list(found)
        except Exception as error:  # noqa: BLE001 - the edge of a part: the others go on
            cause: BaseException = error
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            why = f"{type(cause).__name__}: {cause}"
            parts = [Part(name, "not measured", rows=[], notes=[why])]
        told = [part.to_json(sync) for part in parts]
        self.found += told
        print(table(told), flush=True)  # noqa: T201 - what a bench is for
        print(f"  took {time.monotonic() - start:.0f} s", flush=True)  # noqa: T201 - likewise
        if self.file is not None:  # after each part: a run that is cut short has its numbers
            whole = {"head": self.head, "at": clock.now().isoformat(), "parts": self.found}
            self.file.write_text(json.dumps(whole, indent=1))


def _commit() -> str:
    """Which code is measured: its commit, with a + where files were changed since; or nothing."""
    git = shutil.which("git")
    words = ("describe", "--always", "--dirty=+", "--match=")
    found = git and subprocess.run(  # noqa: S603 - git itself
        [git, *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found else ""


def quiet() -> None:
    """The processes measured write their lines, as always; this one writes the table alone."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def main() -> None:
    """Measure, print and write."""
    try:
        what = asked(sys.argv[1:], os.environ)  # noqa: TID251 - a bench's settings
    except AskedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - likewise
        sys.exit(2)
    FOLDER.mkdir(parents=True, exist_ok=True)
    counts, parts = what.counts, what.parts
    name = f"{counts.name}.json" if parts == PARTS else f"{counts.name}-{parts}.json"
    run = Run(counts, parts, FOLDER / name, what.syncs, what.memory_limit_s)
    quiet()
    start = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all is cleared away
    print(f"Kentong benchmark: {run.head}", flush=True)  # noqa: T201 - likewise
    with tempfile.TemporaryDirectory(prefix="kb-") as folder:
        asyncio.run(run.all(Path(folder)))
    took = f"{(time.monotonic() - start) / 60:.1f} minutes"
    print(f"\n{run.head}\nall numbers, after {took}: {run.file}")  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
