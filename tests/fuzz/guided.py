"""Lets coverage guide inputs into the parsers of the wire formats: `make fuzz SECONDS=600`.

`python -m tests.fuzz.guided SECONDS [PARSER...]` runs as many at once as there are cores, each in a
process of its own, and ends with 1 if one was found that raises anything but an error of ours,
takes longer than ten seconds or more than half a gigabyte. The input then lies in
`.fuzz/<parser>/`, beside what was said: put it into the corpus with the fix. SECONDS are of one
core; what strangers to the region hand in, or a hub that lies, gets six times as much of them as
the rest, and each at least one second a way. Needs atheris, which has no wheel for every system.

Each gets bytes for half of its time, and for the other half the choices by which a good input is
altered part by part: what is well formed outside reaches further in.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.shares import UnknownParserError, chosen, shares

OUT = Path(".fuzz")
BYTES, PARTS = "bytes", "parts"
REFUSED = 2  # the exit code of a command line that says nothing that can be run
_EXECUTED = re.compile(r"^stat::number_of_executed_units: +(\d+)$", re.MULTILINE)


def run_all(seconds: float, names: list[str]) -> tuple[list[str], int]:
    """Return what failed, and how many inputs were tried; each parser gets its share of the time.

    Raises:
        UnknownParserError: Of a name.
    """
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["broker", "schemas", "keys"]):
        from tests.fuzz.registry import PARSERS  # noqa: PLC0415 - what is instrumented
    from tests.fuzz.parser import Parser  # noqa: PLC0415
    from tests.fuzz.test_parsers import by_choices  # noqa: PLC0415

    wanted = {each.name: each for each in PARSERS}
    wire = [each.name for each in PARSERS if each.wire]
    share = shares(chosen(names, known=wanted, usual=wire), seconds)

    def one(parser: Parser, way: str) -> None:
        work = OUT / parser.name / way
        work.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={share[parser.name]}",
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
    tried = 0

    def end_one() -> None:
        nonlocal tried
        child, ended = os.wait()
        name, log = running.pop(child)
        tried += executed(log)
        if os.waitstatus_to_exitcode(ended):
            failed.append(name)
            print(f"--- {name}\n{what_happened(log)}", flush=True)  # noqa: T201

    for parser in (wanted[name] for name in share):
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
    return failed, tried


def executed(log: Path) -> int:
    """How many inputs one process tried, as it said at its end."""
    found = _EXECUTED.search(log.read_text("utf-8", "replace"))
    return int(found[1]) if found else 0


def what_happened(log: Path) -> str:
    """What a parser raised, or the last that was said of one that ended otherwise."""
    told = log.read_text("utf-8", "replace")
    _, raised, what = told.partition("=== Uncaught Python exception: ===")
    return what[:600] if raised else told[-600:]


def main() -> None:
    """Run what the command line says."""
    match sys.argv[1:]:
        case [seconds, *names] if seconds.isdecimal():
            try:
                failed, tried = run_all(float(seconds), names)
            except UnknownParserError as error:
                print(error, file=sys.stderr)  # noqa: T201
                sys.exit(REFUSED)
            print(f"inputs: {tried}\nfailed: " + (", ".join(failed) or "none"))  # noqa: T201
            sys.exit(1 if failed else 0)
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201
            sys.exit(REFUSED)


if __name__ == "__main__":
    main()
