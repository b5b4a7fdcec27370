"""Opens and closes one client of the library, as this project needs it."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.client import Client

from broker.transport.credentials import Credentials

CONNECT_TIMEOUT_S: Final = 5.0  # at first; twice as long after each attempt that failed
MAX_CONNECT_TIMEOUT_S: Final = 40.0  # six round trips and a loss or two, over two satellites
CLOSE_S: Final = 0.5
PING_INTERVAL_S: Final = 10
MAX_PINGS_OUT: Final = 4  # behind a file on a thin line, an answer is late and not lost
RETRY_S: Final = 0.05  # between the addresses of one attempt


async def opened(
    client: Client,
    given: Credentials,
    *,
    limit_s: float,
    on_error: Callable[[Exception], Awaitable[None]],
    on_lost: Callable[[], Awaitable[None]],
) -> None:
    """Connect `client`, which never reconnects by itself.

    Args:
        client: New.
        given: What it is let in with.
        limit_s: For each step; half of the time that all of it may take.
        on_error: Called with what the library says.
        on_lost: Called when the connection is lost or closed.

    Raises:
        NATSError, OSError, TimeoutError: It does not connect; the caller throws it away.
    """
    async with asyncio.timeout(limit_s * 2):
        await client.connect(
            list(given.urls),
            name=given.name,
            user_jwt_cb=lambda: bytearray(given.jwt.encode()),
            signature_cb=lambda nonce: base64.b64encode(given.key.sign(nonce.encode())),
            tls=tls_context(given.ca_pem),
            inbox_prefix=given.inbox_prefix.encode(),
            connect_timeout=int(limit_s),
            allow_reconnect=False,  # a new client each time: it is the same, and never stuck
            reconnect_time_wait=RETRY_S,  # type: ignore[arg-type] # it takes any number
            max_reconnect_attempts=2,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=MAX_PINGS_OUT,
            error_cb=on_error,
            disconnected_cb=on_lost,
            closed_cb=on_lost,
        )


def tls_context(authority_pem: str) -> ssl.SSLContext:
    """Return the context that trusts this authority alone, checks names, and speaks TLS 1.3."""
    context = ssl.create_default_context(cadata=authority_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def thrown_away(client: Client) -> None:
    """Close a client, whatever it says."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            await client.close()


async def taken_over(client: Client, limit_s: float) -> float:
    """Return once the server has taken over what was said until now; how long one answer took."""
    loop, took_s = asyncio.get_running_loop(), 0.0
    for _ in range(2):  # the library's first ping overtakes what waits in its buffer
        asked_at = loop.time()
        await client.flush(timeout=int(limit_s))
        took_s = loop.time() - asked_at
    return took_s
