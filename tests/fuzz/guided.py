"""Lets coverage guide inputs into the parsers of the wire formats: `make fuzz SECONDS=600`.

`python -m tests.fuzz.guided SECONDS [PARSER...]` runs them one after the other, each in a process
of its own, and ends with 1 if one was found that raises anything but an error of ours, takes
longer than ten seconds or more than half a gigabyte. The input then lies in `.fuzz/<parser>/`:
put it into the corpus with the fix. Needs atheris, which has no wheel for every system.
"""

import importlib
import subprocess
import sys
from pathlib import Path

OUT = Path(".fuzz")


def run_all(seconds: int, names: list[str]) -> int:
    """Return how many parsers failed; each gets its share of the time."""
    from tests.fuzz.registry import PARSERS  # noqa: PLC0415 - instrumented in the children only

    chosen = [each.name for each in PARSERS if (each.name in names if names else each.wire)]
    share = max(1, seconds // len(chosen))
    failed = []
    for name in chosen:
        print(f"--- {name}: {share} s", flush=True)  # noqa: T201
        command = [sys.executable, "-m", "tests.fuzz.guided", "--one", name, str(share)]
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            failed.append(name)
    print("failed: " + (", ".join(failed) or "none"))  # noqa: T201
    return len(failed)


def run_one(name: str, seconds: str) -> None:
    """Fuzz one parser; ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["broker", "schemas", "keys"]):
        from tests.fuzz.registry import PARSERS  # noqa: PLC0415 - what is instrumented
    parser = next(each for each in PARSERS if each.name == name)
    work = OUT / name
    work.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=512",
        "-max_len=65536",
        "-print_final_stats=1",
        f"-artifact_prefix={work}/found-",
        str(work),
        str(parser.corpus),
    ]
    atheris.Setup([sys.argv[0], *options], parser.judge)
    atheris.Fuzz()


def main() -> None:
    """Run what the command line says."""
    match sys.argv[1:]:
        case ["--one", name, seconds]:
            run_one(name, seconds)
        case [seconds, *names]:
            sys.exit(1 if run_all(int(seconds), names) else 0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
