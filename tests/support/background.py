"""What works beside a test, and stops at once when the test has seen enough."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def at_work(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Let it work while the block runs; it is cancelled then, wherever it is."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
