"""Waiting for what must come: if it does not, it is lost, and the test says what."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest


@asynccontextmanager
async def must_come(bound_s: float, missing: Callable[[], str]) -> AsyncIterator[None]:
    """Fail if the block is not over in time.

    A bare `TimeoutError` says that a test was late, which CI may forgive (`unforgiven`). Whoever
    waits for an alert must not be forgiven: one that never comes is lost.

    Args:
        bound_s: Far beyond what it takes.
        missing: Says what never came; asked only then.
    """
    try:
        async with asyncio.timeout(bound_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        pytest.fail(f"after {bound_s:.0f} s {missing()}")


async def until(
    met: Callable[[], Awaitable[bool]],
    bound_s: float = 180.0,
    missing: Callable[[], str] = lambda: "it never was so",
) -> None:
    """Return once it is so: asked again and again, where another process or a disk tells no event.

    Args:
        met: Whether it is so.
        bound_s: As for `must_come`.
        missing: Likewise.
    """
    async with must_come(bound_s, missing):
        while not await met():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.1)
