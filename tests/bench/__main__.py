"""`make bench`: everything measured in one run on this machine, as a table and as JSON.

FULL=1 takes the counts whose numbers are published; without it, counts are reduced so that all of
it takes about five minutes. Nothing here passes or fails: it says what is so, and the goal.
"""

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from broker import clock
from tests.bench import gateways, region
from tests.bench.counts import FULL, REDUCED, Counts
from tests.bench.results import Part, table
from tests.bench.stage import ALWAYS_SYNC, DEFAULT_SYNC, running

FOLDER = Path("build/bench")


def chosen() -> Counts:
    """FULL=1, or reduced."""
    return FULL if os.environ.get("FULL") == "1" else REDUCED  # noqa: TID251 - a bench setting


async def on_servers(found: region.BenchRegion, counts: Counts, note: Callable[..., None]) -> None:
    """The parts that differ with the server's setting, under both."""
    for sync in (ALWAYS_SYNC, DEFAULT_SYNC):
        async with running(found, sync) as stage:
            note(sync, await gateways.measure(stage, count=counts.gateway, rounds=counts.rounds))


def main() -> None:
    """Measure, print and write."""
    counts = chosen()
    # The processes measured write their lines, as always; this one stays quiet.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    done: list[dict[str, Any]] = []

    def note(sync: str, part: Part) -> None:
        done.append(part.to_json(sync))
        print(table(done[-1:]), flush=True)  # noqa: T201 - what a bench is for

    head = f"Kentong benchmark, {counts.name} counts, {len(os.sched_getaffinity(0))} cores"
    print(head)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="kb-") as name:
        found = region.found(Path(name) / "r")
        asyncio.run(on_servers(found, counts, note))
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{counts.name}.json"
    told = {"counts": counts.name, "at": clock.now().isoformat(), "parts": done}
    path.write_text(json.dumps(told, indent=1))
    print(f"\n{head}\nAll numbers: {path}")  # noqa: T201


if __name__ == "__main__":
    main()
