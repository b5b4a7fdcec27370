"""Judging a suspicious submission in a child first: one poisonous message must not stop a region.

The child reads the same directory and judges the same bytes under limits of time and memory. If
it dies or does not end, the submission is refused as `unprocessable`; its answer is not used for
anything else.
"""

import asyncio
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker import clock
from broker.admission.judge import Arrival, judge, read
from broker.envelope.submitted import Submitted
from broker.gateway.directory import DirectoryInForce
from broker.logs import get_logger
from keys.directory.source import PublishedDirectory
from schemas import canonical

LIMIT_S: Final = 10.0
LIMIT_BYTES: Final = 1024 * 1024 * 1024  # of address space; a worker takes a tenth
_MAX_INPUT: Final = 2 * 1024 * 1024
_log = get_logger()


@dataclass(frozen=True)
class ChildTrial:
    """Tries a submission in a child of this worker.

    Attributes:
        home: The hub's home folder, where the child finds the directory.
    """

    home: Path

    async def __call__(self, arrival: Arrival) -> bool:
        """Return whether a child judged `arrival` and came to an end."""
        given = canonical.encode([arrival.raw, arrival.account, arrival.lane, arrival.id])
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "broker.gateway.trial",
            str(self.home),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                await child.communicate(given)
        except TimeoutError:
            child.kill()
            await child.wait()
        _log.warning("tried-in-child", member=arrival.account, code=str(child.returncode))
        return child.returncode == 0


def main() -> None:
    """Judge what stands on standard input, under limits."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT_S), int(LIMIT_S)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold what it read
    value = canonical.decode(sys.stdin.buffer.read(_MAX_INPUT), max_bytes=_MAX_INPUT)
    match value:
        case [bytes(raw), str(account), str(lane), str(ident)]:
            arrival = Arrival(raw, account, lane, ident)
        case _:
            sys.exit(2)
    directory = DirectoryInForce.read(PublishedDirectory.at(Path(sys.argv[1])))
    situation = directory.situation(clock.now())
    found = read(arrival, situation)
    if isinstance(found, Submitted):
        judge(found, situation, size=len(arrival.raw), spoken_of=None)


if __name__ == "__main__":
    main()
