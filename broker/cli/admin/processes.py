"""Runs a long-lived process until it is told to end, and tells its supervisor when it is ready."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any, Final

import uvloop

from broker.errors import BrokerError
from keys.errors import KeysError

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_COLLECT_AFTER: Final = (20_000, 50, 100)  # allocations, then runs of each younger generation


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; SIGTERM and SIGINT cancel it, and the command ends with code 0.

    Raises:
        BrokerError: What `work` raised, taken out of its task group.
        KeysError: Likewise.
    """
    spare_what_stays()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_watched(work))
        except* (BrokerError, KeysError) as group:
            raise _first(group) from None


def spare_what_stays() -> None:
    """Let the collector of cycles pass over what was loaded until now.

    Modules and models are some hundred thousand objects that live as long as the process; walking
    them again and again took a seventh of a gateway's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def _watched(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in _ENDING:
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


def _first(group: BaseExceptionGroup[BrokerError | KeysError]) -> BrokerError | KeysError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if isinstance(found, BrokerError | KeysError):
        return found
    raise found
