"""Lets coverage guide inputs into the parsers of the wire formats: `make fuzz SECONDS=600`.

`python -m tests.fuzz.guided SECONDS [PARSER...]` runs as many at once as there are cores, each in a
process of its own, and ends with 1 if one was found that raises anything but an error of ours,
takes longer than ten seconds or more than half a gigabyte. The input then lies in
`.fuzz/<parser>/`, beside what was said: put it into the corpus with the fix. SECONDS are of one
core. Needs atheris, which has no wheel for every system.

Each gets bytes for half of its time, and for the other half the choices by which a good input is
altered part by part: what is well formed outside reaches further in.
"""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path(".fuzz")
BYTES, PARTS = "bytes", "parts"


def run_all(seconds: float, names: list[str]) -> list[str]:
    """Return what failed; each parser gets its share of the time."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["broker", "schemas", "keys"]):
        from tests.fuzz.registry import PARSERS  # noqa: PLC0415 - what is instrumented
    from tests.fuzz.parser import Parser  # noqa: PLC0415
    from tests.fuzz.test_parsers import by_choices  # noqa: PLC0415

    chosen = [each for each in PARSERS if (each.name in names if names else each.wire)]
    share = max(1, round(seconds / len(chosen) / 2))

    def one(parser: Parser, way: str) -> None:
        work = OUT / parser.name / way
        work.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={share}",
            "-timeout=10",
            "-rss_limit_mb=512",
            *(["-max_len=65536"] if way == BYTES else ["-max_len=4096", "-len_control=0"]),
            "-print_final_stats=1",
            f"-artifact_prefix={work}/found-",
            str(work),
            *([str(parser.corpus)] if way == BYTES else []),
        ]
        judge: Callable[[bytes], object] = parser.judge if way == BYTES else by_choices(parser)
        atheris.Setup([sys.argv[0], *options], judge)
        atheris.Fuzz()

    running: dict[int, tuple[str, Path]] = {}
    failed = []

    def end_one() -> None:
        child, ended = os.wait()
        name, log = running.pop(child)
        if os.waitstatus_to_exitcode(ended):
            failed.append(name)
            print(f"--- {name}\n{what_happened(log)}", flush=True)  # noqa: T201

    for parser in chosen:
        for way in (BYTES, PARTS):
            if len(running) == (os.cpu_count() or 1):
                end_one()
            log = OUT / parser.name / f"{way}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            if not (child := os.fork()):  # what is instrumented once serves all of them
                with log.open("wb") as told:
                    os.dup2(told.fileno(), 1)
                    os.dup2(told.fileno(), 2)
                one(parser, way)  # ends the process
                os._exit(1)
            running[child] = (f"{parser.name} ({way})", log)
    while running:
        end_one()
    return failed


def what_happened(log: Path) -> str:
    """What a parser raised, or the last that was said of one that ended otherwise."""
    told = log.read_text("utf-8", "replace")
    _, raised, what = told.partition("=== Uncaught Python exception: ===")
    return what[:600] if raised else told[-600:]


def main() -> None:
    """Run what the command line says."""
    match sys.argv[1:]:
        case [seconds, *names]:
            failed = run_all(float(seconds), names)
            print("failed: " + (", ".join(failed) or "none"))  # noqa: T201
            sys.exit(1 if failed else 0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
