"""Judging a suspicious submission in a child first: one poisonous message must not stop a region.

The child reads the same directory, judges the same bytes under limits of time and memory, and makes
what would be recorded and delivered, under a key of its own that nobody believes. If it dies or
does not end, the submission is refused as `unprocessable`; its answer is not used for anything
else.
"""

import asyncio
import resource
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from broker import clock
from broker.admission.judge import Arrival, judge, read
from broker.admission.judgement import NotNow
from broker.envelope.decision import encode_delivery
from broker.envelope.submitted import Submitted, deliver
from broker.errors import BrokerError
from broker.gateway.decide import decision_on
from broker.gateway.directory import DirectoryInForce
from broker.log.commitments import statement_of
from broker.logs import get_logger
from keys.directory.source import PublishedDirectory
from keys.errors import KeysError
from keys.kid import kid_of
from keys.primitives.signing import SignKey
from schemas import canonical

LIMIT_S: Final = 10
MAX_AT_ONCE: Final = 2  # of one worker: many suspicious messages must not fill the machine
LIMIT_MIB: Final = 1024  # of address space; a worker takes a tenth
NO_DIRECTORY: Final = 3  # the child's exit code
_MAX_INPUT: Final = 2 * 1024 * 1024
_log = get_logger()


@dataclass(frozen=True)
class ChildTrial:
    """Tries a submission in a child of this worker.

    Attributes:
        home: The hub's home folder, where the child finds the directory.
        limit_s: Most time that a child may take, by the clock and of a processor.
        limit_mib: Most address space that it may take.
    """

    home: Path
    limit_s: int = LIMIT_S
    limit_mib: int = LIMIT_MIB
    _room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE), repr=False
    )

    async def __call__(self, arrival: Arrival) -> bool:
        """Return whether a child judged `arrival`, made its copies and came to an end.

        Raises:
            BrokerError: `not-tried`: it found no directory to judge by, which is not the
                submission's fault.
        """
        async with self._room:
            return await self._tried(arrival)

    async def _tried(self, arrival: Arrival) -> bool:
        given = canonical.encode([arrival.raw, arrival.account, arrival.lane, arrival.id])
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "broker.gateway.trial",
            str(self.home),
            str(self.limit_s),
            str(self.limit_mib),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self.limit_s):
                await child.communicate(given)
        except TimeoutError:
            _log.warning("trial-too-long", member=arrival.account)
        finally:  # also when this worker is stopped meanwhile
            if child.returncode is None:
                child.kill()
                await child.wait()
        _log.warning("tried-in-child", member=arrival.account, code=str(child.returncode))
        if child.returncode == NO_DIRECTORY:
            raise BrokerError("not-tried", "the child has no directory", retry="later")
        return child.returncode == 0


def main() -> None:
    """Judge what stands on standard input, under limits."""
    limit_s, limit_bytes = int(sys.argv[2]), int(sys.argv[3]) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold what it read
    value = canonical.decode(sys.stdin.buffer.read(_MAX_INPUT), max_bytes=_MAX_INPUT)
    match value:
        case [bytes(raw), str(account), str(lane), str(ident)]:
            arrival = Arrival(raw, account, lane, ident)
        case _:
            sys.exit(2)
    try:
        directory = DirectoryInForce.read(PublishedDirectory.at(Path(sys.argv[1])))
    except KeysError:
        sys.exit(NO_DIRECTORY)
    carry_dry(arrival, directory, clock.now())


def carry_dry(arrival: Arrival, directory: DirectoryInForce, now: datetime) -> list[bytes]:
    """Return what would be recorded of `arrival`, and then each copy, publishing nothing."""
    situation = directory.situation(now)
    found = read(arrival, situation)
    if isinstance(found, Submitted):
        judgement = judge(found, situation, size=len(arrival.raw), spoken_of=None)
    else:
        judgement = found
    if isinstance(judgement, NotNow):
        return []
    key = SignKey.generate()
    decision = decision_on(
        judgement,
        sender=arrival.account,
        directory=directory.view.version,
        now=now,
        gateway="trial",
        kid=kid_of(key.public.raw),
        key=key,
    )
    made = [decision.to_bytes(), statement_of(decision, boot=0, seq=0).sign(key).to_bytes()]
    submitted = judgement.submitted
    for each in decision.records:
        if submitted is not None and each.accepted:
            copy = deliver(submitted, each.recipient)
            made.append(encode_delivery(copy, decision, each.recipient))
    return made


if __name__ == "__main__":
    main()
