"""What lies on a region's disks while its processes run: looked at, and harmed."""

import random  # noqa: TID251 - seeded, so that a run can be repeated
import sqlite3
from collections.abc import Container, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any


def flip_one(path: Path, order: random.Random) -> None:
    """Flip a bit of a database that nobody has open: the first drawn whose harm SQLite can see.

    The others change what is sealed, or nothing: tests/faults/test_flipped_bit.py.
    """
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    while True:
        bit = order.randrange(path.stat().st_size * 8)
        flip(path, bit)
        if not is_whole(path):
            return
        flip(path, bit)


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def is_whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with a file."""
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as database:
            return database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False


def serving(told: Iterable[Mapping[str, Any]], alive: Container[int]) -> bool:
    """Whether each gateway worker that the hub last started serves, as the hub's log tells it.

    Args:
        told: The log's lines.
        alive: The processes that there are.
    """
    pids: dict[str, int] = {}
    serve: set[str] = set()
    for each in told:
        if each["event"] == "worker-started" and each["worker"]:  # 0 is of the log
            name = f"gateway-{each['worker']}"
            pids[name] = each["pid"]
            serve.discard(name)
        elif each["event"] == "serving":
            serve.add(each["process"])
    return bool(pids) and pids.keys() <= serve and all(pid in alive for pid in pids.values())


def column(path: Path, question: str, *values: str) -> set[Any]:
    with closing(sqlite3.connect(path, timeout=30)) as database:
        return {value for (value,) in database.execute(question, values)}
