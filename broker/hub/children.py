"""Child processes that are started again when they die, less often each time; they end with us."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.logs import get_logger
from broker.transport.server import launched

STOP_TIMEOUT_S: Final = 10.0
MIN_PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 15.0
STEADY_S: Final = 30.0  # one that ran this long starts again at once
_log = get_logger()


def gateway_command(home: Path, worker: int) -> tuple[str, ...]:
    """Return how a gateway worker is started."""
    return kentong_command(home, "gateway", "run", "--worker", str(worker))


def kentong_command(home: Path, *words: str) -> tuple[str, ...]:
    """Return how a command of ours is started in a process of its own."""
    start = "from broker.cli import main; main()"
    return (sys.executable, "-c", start, "--home", str(home), *words)


async def keep_running(
    command: Sequence[str], *, worker: int, environment: Mapping[str, str] | None = None
) -> None:
    """Run `command` for ever; end it when this task is cancelled."""
    pause_s, loop = MIN_PAUSE_S, asyncio.get_running_loop()
    while True:
        started = loop.time()
        child = await asyncio.create_subprocess_exec(
            *launched(*command), start_new_session=True, env=environment
        )
        _log.info("worker-started", worker=worker, pid=child.pid)
        try:
            code = await child.wait()
        finally:
            await _end(child)
        _log.warning("worker-ended", worker=worker, code=str(code))
        pause_s = MIN_PAUSE_S if loop.time() - started > STEADY_S else pause_s * 2
        await asyncio.sleep(min(pause_s, MAX_PAUSE_S))


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
