"""How long `kentong audit verify` takes, against bare signature checks on the same cores.

    .venv/bin/python -m tests.bench.bench_audit        KENTONG_BENCH_LEAVES=100000 if not set

Prints one line of JSON. Bare checks and command run one after the other, three times each; the
best of each counts, since whatever else the machine does can only make them slower; with more than
100,000 leaves, once.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path

from broker.log.leaf import LEAF_CONTEXT
from broker.log.notekeys import SignatureType, VKey
from keys.primitives.signing import SignKey, VerifyKey
from tests.audit.bundles import leaf, policy_text, said, write_log

LEAVES = int(os.environ.get("KENTONG_BENCH_LEAVES", "100000"))  # noqa: TID251 - a bench setting
CORES = len(os.sched_getaffinity(0))
ROUNDS = 3 if LEAVES <= 100_000 else 1
SEED = bytes(range(32))
BEHIND = 1 + 64 + 16 + 8  # of a leaf, behind what its gateway signs
COMMAND = """
import atexit, resource, sys
def told():
    lines = open("/proc/self/status").read().splitlines()  # ru_maxrss counts who started us, too
    own = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
atexit.register(told)
from broker.cli import main
main()
"""


def made(first: int, last: int) -> list[bytes]:
    """Leaves that one gateway signed."""
    key = SignKey(SEED)
    return [leaf(said(seq), key) for seq in range(first, last)]


def bare(leaves: list[bytes]) -> float:
    """Seconds that checking each signature takes, and nothing else."""
    key = SignKey(SEED).public
    pairs = [(each[1 - BEHIND :][:64], LEAF_CONTEXT + each[:-BEHIND]) for each in leaves]
    start = time.perf_counter()
    checked(key, pairs)
    return time.perf_counter() - start


def checked(key: VerifyKey, pairs: list[tuple[bytes, bytes]]) -> None:
    for signature, message in pairs:
        key.verify(signature, message)


def audited(folder: Path) -> tuple[float, int, int]:
    """Seconds that the whole command takes, its peak memory, and that of its largest process."""
    words = ["audit", "verify", str(folder / "log"), "--policy", str(folder / "policy")]
    words += ["--gateways", str(folder / "gateways"), "--json"]
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", COMMAND, *words], capture_output=True, check=False, text=True
    )
    seconds = time.perf_counter() - start
    told = json.loads(done.stdout)
    if not told["ok"]:
        sys.exit(f"the log does not verify: {told['checks']}")
    own, largest = done.stderr.split()[-2:]
    return seconds, int(own), int(largest)


def main() -> None:
    """Measure, and print one line."""
    bounds = [LEAVES * core // CORES for core in range(CORES + 1)]
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool,
    ):
        folder = Path(name)
        shares = list(pool.map(made, bounds[:-1], bounds[1:]))
        write_log(folder / "log", list(chain.from_iterable(shares)))
        (folder / "policy").write_text(policy_text())
        vkey = VKey("gateway", SignatureType.ED25519, SignKey(SEED).public.raw)
        (folder / "gateways").write_text(f"{vkey.to_text()}\n")
        runs = []
        for _ in repeat(None, ROUNDS):
            alone = max(pool.map(bare, shares))
            runs.append((alone, *audited(folder)))
    ceiling, seconds = min(run[0] for run in runs), min(run[1] for run in runs)
    print(  # noqa: T201 - what a bench is for
        json.dumps(
            {
                "bench": "audit-verify",
                "leaves": LEAVES,
                "cores": CORES,
                "seconds": round(seconds, 2),
                "bare_seconds": round(ceiling, 2),
                "ratio": round(seconds / ceiling, 3),
                "goal": 1.2,
                "leaves_per_second": round(LEAVES / seconds),
                "peak_rss_mib": round(max(run[2] for run in runs) / 1024, 1),
                "peak_rss_worker_mib": round(max(run[3] for run in runs) / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
