"""Bundles of entries read by all cores, given back in their order, few at a time."""

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeAlias

from broker.audit.leafread import LeafKey, LeavesRead, read_bundles
from broker.audit.walk import Gap, Part
from broker.errors import BrokerError

CHUNK: Final = 2  # bundles, so 512 leaves: at the end no process waits longer for another's
SMALL: Final = 32 * CHUNK * 256  # leaves below which starting processes takes longer than it saves
_AHEAD: Final = 8  # chunks that wait for each process

Step: TypeAlias = Part | Gap
Given: TypeAlias = tuple[Step, LeavesRead | None]


def read_in_order(
    steps: Iterable[Step], keys: tuple[LeafKey, ...], *, processes: int
) -> Iterator[Given]:
    """Yield every step, and what stands in its entries if it has any.

    At most `processes` * 8 + 1 chunks of 2 bundles are held.

    Raises:
        BrokerError: `worker-died`: the system ended a process, for example for want of memory.
    """
    walked = iter(steps)
    chunks = iter(lambda: list(itertools.islice(walked, CHUNK)), [])
    if processes == 1:
        for chunk in chunks:
            yield from _joined(chunk, read_bundles(_bundles(chunk), keys))
        return
    try:
        yield from _in_processes(chunks, keys, processes)
    except BrokenProcessPool as error:
        raise BrokerError("worker-died", "a process that checked signatures was ended") from error


def _in_processes(
    chunks: Iterable[list[Step]], keys: tuple[LeafKey, ...], processes: int
) -> Iterator[Given]:
    # Not forked: the progress bar has a thread, and a fork beside a thread may never come back.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: deque[tuple[list[Step], Future[list[LeavesRead]]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, pool.submit(read_bundles, _bundles(chunk), keys)))
            if len(waiting) > processes * _AHEAD:
                done, read = waiting.popleft()
                yield from _joined(done, read.result())
        for done, read in waiting:
            yield from _joined(done, read.result())


def _bundles(chunk: list[Step]) -> list[tuple[int, int, bytes]]:
    return [
        (step.first, step.width, step.entries)
        for step in chunk
        if isinstance(step, Part) and step.entries is not None
    ]


def _joined(chunk: list[Step], read: list[LeavesRead]) -> Iterator[Given]:
    rest = iter(read)
    for step in chunk:
        has = isinstance(step, Part) and step.entries is not None
        yield step, next(rest) if has else None
