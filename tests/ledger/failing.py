"""Grows copies of a log, each with another fsync that fails, and tells how each process ended.

Arguments: folder, library. Started with the library preloaded; `FOLDER/before` is the log, and
`FOLDER/N` becomes the copy whose N-th fsync failed. One line each: "ended", N, errno, and what
ended it; the last is the copy where none failed.
"""

import asyncio
import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from broker.errors import BrokerError
from tests.ledger.growing import Position, a_log, entries

OF_TWO = (errno.EIO, errno.ENOSPC)
SIZE, COUNT = 4, 300
NO_SOCKET = shutil.ignore_patterns("s")


async def grow(folder: Path, library: ctypes.CDLL, number: int, code: int) -> str:
    """Grow once while the disk fails; return what ended it, or nothing."""
    async with a_log(folder) as committer:
        await committer.recover()
        library.fail_at(number, code)
        try:
            await committer.grow(SIZE, entries(SIZE, COUNT), {"A": Position("then", 1)})
        except BrokerError as error:
            return error.code
        finally:
            library.fail_at(0, 0)
    return ""


def main() -> None:
    folder, library = Path(sys.argv[1]), ctypes.CDLL(sys.argv[2])
    number = 0
    while True:
        number += 1
        code = OF_TWO[number % 2]
        shutil.copytree(folder / "before", folder / str(number), ignore=NO_SOCKET)
        child = os.fork()
        if not child:
            library.fail_at(0, 0)
            ended = asyncio.run(grow(folder / str(number), library, number, code))
            print("ended", number, code, ended or "whole", flush=True)  # noqa: T201 - to the test
            os._exit(0 if ended else 9)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            return


if __name__ == "__main__":
    main()
