"""How fast the log grows: leaves into signed checkpoints, through signer process and database.

    .venv/bin/python -m tests.bench.bench_append       KENTONG_BENCH_LEAVES=100000 if not set
    KENTONG_BENCH_DATABASE=postgresql+psycopg://...    SQLite if not set

Prints one line of JSON. First leaves that are checked already; then messages as the streams hold
them, each signature checked, against bare checks of the same signatures on as many threads. Each
is done three times and the best counts, since whatever else the machine does can only slow it; with
more than 100,000 leaves, once.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from broker.ledger.commit import Committer, Entry
from broker.ledger.intake import GatewayKey, Witnessed
from broker.ledger.place import LedgerConfig, LedgerPlace
from broker.ledger.reading import READ_TOGETHER, Batch, checked
from broker.ledger.sequencer import Sequencer
from broker.ledger.signer_socket import serving
from broker.ledger.state import Position, metadata
from broker.ledger.subjects import SubjectSealer
from broker.log.audited import statement_in
from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import LEAF_CONTEXT, STREAM_BYTES
from broker.log.note import parse_note
from broker.log.notekeys import parse_vkey, verify_note
from broker.store.database import open_database
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.message import Stored
from keys.keystore import FLOOR_LOG2N
from keys.primitives.signing import SignKey
from tests.bench.recorded import KEY, Recorded

LEAVES = int(os.environ.get("KENTONG_BENCH_LEAVES", "100000"))  # noqa: TID251 - a bench setting
DATABASE = os.environ.get("KENTONG_BENCH_DATABASE", "")  # noqa: TID251 - likewise
CORES = len(os.sched_getaffinity(0))
ROUNDS = 3 if LEAVES <= 100_000 else 1
SECRET = b"a passphrase for nothing"
PEN = Witnessed(SignKey.generate())
KEYS = (GatewayKey(KEY.public),)
SEALER = SubjectSealer.of(PEN.key)
STREAM = bytes(STREAM_BYTES)
SIGN = "import sys; from tests.bench.bench_append import sign; sign(sys.argv[1])"
NOWHERE = Credentials((), "", "", SignKey.generate(), "_INBOX", "bench")
START_S = 30.0
Grow = Callable[[Sequencer], Awaitable[float]]


def sign(home: str) -> None:
    """Serve as the signer until killed."""

    async def work() -> None:
        place = LedgerPlace(Path(home))
        with place.open_signer(SECRET) as signer:
            async with serving(signer, place.socket):
                print("ready", flush=True)  # noqa: T201 - to who started us
                await asyncio.get_running_loop().create_future()

    asyncio.run(work())


@asynccontextmanager
async def a_log(place: LedgerPlace) -> AsyncIterator[tuple[Committer, int]]:
    """A founded log with a signer in a process of its own, and that one's process id."""
    config = LedgerConfig(origin="log.example/bench", database=DATABASE)
    place.create(config, SECRET, SignKey.generate(), "", log2n=FLOOR_LOG2N)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SIGN, str(place.home), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(START_S):
            await child.stdout.readline()
        async with open_database(place.database_url, metadata) as database:
            async with database.engine.begin() as connection:  # what an earlier run left
                await connection.run_sync(metadata.drop_all)
                await connection.run_sync(metadata.create_all)
            committer = place.committer(database)
            await committer.found()
            yield committer, child.pid
    finally:
        child.kill()
        await child.wait()


async def entered(part: Sequence[Stored]) -> Batch:
    """What the sequencer makes of messages, read and checked."""
    entries = []
    for start in range(0, len(part), READ_TOGETHER):
        some = part[start : start + READ_TOGETHER]
        numbers = [each.seq for each in some]
        entries += await checked(numbers, some, stream=STREAM, keys=KEYS, pen=PEN)
    chunks = (part[at : at + READ_TOGETHER] for at in range(0, len(part), READ_TOGETHER))
    rows = (SEALER.seal(2026, (each.subject for each in chunk)) for chunk in chunks)
    subjects = [row for row in rows if row is not None]
    read = {"AUDIT_2026": Position("then", part[-1].seq + 1)}
    assert all(isinstance(each, Entry) for each in entries)  # each signature verified
    return Batch(entries, read, len(part), subjects)


async def appended(recorded: Recorded, sequencer: Sequencer) -> float:
    """Leaves checked already, into the log; return the seconds that they take once checked."""
    size, seconds = 0, 0.0
    for part in recorded.parts():
        batch = await entered(part)
        start = time.perf_counter()
        size = await sequencer.append(size, batch)
        seconds += time.perf_counter() - start
    return seconds


async def end_to_end(recorded: Recorded, sequencer: Sequencer) -> float:
    """Messages into the log, read and checked ahead, as `Sequencer.run` does; return seconds."""
    batches: asyncio.Queue[Batch | None] = asyncio.Queue(1)
    start = time.perf_counter()

    async def read() -> None:
        for part in recorded.parts():
            await batches.put(await entered(part))
        await batches.put(None)

    size = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        while (batch := await batches.get()) is not None:
            size = await sequencer.append(size, batch)
    return time.perf_counter() - start


def bare(recorded: Recorded) -> float:
    """Seconds that checking each signature takes, and nothing else."""
    seconds = 0.0
    with ThreadPoolExecutor(CORES) as pool:
        for part in recorded.parts():
            signed = [statement_in(each.payload) for each in part]
            pairs = [(each.signature, LEAF_CONTEXT + each.statement.to_bytes()) for each in signed]
            start = time.perf_counter()
            list(pool.map(_check, (pairs[first::CORES] for first in range(CORES))))
            seconds += time.perf_counter() - start
    return seconds


def _check(pairs: Sequence[tuple[bytes, bytes]]) -> None:
    for signature, message in pairs:
        KEY.public.verify(signature, message)


async def grown(work: Grow) -> tuple[float, float, float]:
    """Seconds that `work` takes, and the peak memory of this process and of the signer, in MiB."""
    with tempfile.TemporaryDirectory() as name:
        place = LedgerPlace(Path(name))
        async with a_log(place) as (committer, signer):
            sequencer = Sequencer(Link(NOWHERE), committer, lambda: KEYS, PEN)
            seconds = await work(sequencer)
            start = time.perf_counter()
            await committer.show_checkpoint()
            seconds += time.perf_counter() - start
            note = parse_note(committer.files.checkpoint() or b"")
            keys = [parse_vkey(line) for line in place.vkeys_file.read_text().splitlines()]
            whole = len(verify_note(note, keys)) == len(keys)
            if not whole or parse_checkpoint(note.text).size != LEAVES:
                sys.exit("not every leaf is under a signed checkpoint")
            return seconds, peak_mib(os.getpid()), peak_mib(signer)


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return round(int(kib) / 1024, 1)


def main() -> None:
    """Measure, and print one line."""
    ceiling = whole = alone = float("inf")
    peak = signer = 0.0
    with tempfile.TemporaryDirectory() as name:
        recorded = Recorded(Path(name), LEAVES)
        recorded.make(CORES)
        for _ in range(ROUNDS):
            ceiling = min(ceiling, bare(recorded))
            seconds, used, used_by_signer = asyncio.run(grown(partial(end_to_end, recorded)))
            whole, peak, signer = min(whole, seconds), max(peak, used), max(signer, used_by_signer)
            alone = min(alone, asyncio.run(grown(partial(appended, recorded)))[0])
    print(  # noqa: T201 - what a bench is for
        json.dumps(
            {
                "bench": "log-append",
                "leaves": LEAVES,
                "cores": CORES,
                "database": DATABASE.partition(":")[0] or "sqlite",
                "checked_leaves_per_second": round(LEAVES / alone),
                "goal_checked": 20_000,
                "end_to_end_leaves_per_second": round(LEAVES / whole),
                "bare_signatures_per_second": round(LEAVES / ceiling),
                "ratio": round(ceiling / whole, 3),
                "goal_ratio": 0.8,
                "peak_rss_mib": peak,
                "peak_rss_signer_mib": signer,
            }
        )
    )


if __name__ == "__main__":
    main()
