"""Opens and closes one client of the library, as this project needs it."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.client import Client

from broker.transport.credentials import Credentials

CONNECT_TIMEOUT_S: Final = 5.0
CLOSE_S: Final = 0.5
PING_INTERVAL_S: Final = 10
RETRY_S: Final = 0.05  # between the addresses of one attempt


async def opened(
    client: Client,
    given: Credentials,
    *,
    on_error: Callable[[Exception], Awaitable[None]],
    on_lost: Callable[[], Awaitable[None]],
) -> None:
    """Connect `client`, which never reconnects by itself.

    Raises:
        NATSError, OSError, TimeoutError: It does not connect; the caller throws it away.
    """
    async with asyncio.timeout(CONNECT_TIMEOUT_S * 2):
        await client.connect(
            list(given.urls),
            name=given.name,
            user_jwt_cb=lambda: bytearray(given.jwt.encode()),
            signature_cb=lambda nonce: base64.b64encode(given.key.sign(nonce.encode())),
            tls=tls_context(given.ca_pem),
            inbox_prefix=given.inbox_prefix.encode(),
            connect_timeout=int(CONNECT_TIMEOUT_S),
            allow_reconnect=False,  # a new client each time: it is the same, and never stuck
            reconnect_time_wait=RETRY_S,  # type: ignore[arg-type] # it takes any number
            max_reconnect_attempts=2,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=2,
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


async def taken_over(client: Client) -> None:
    """Return once the server has taken over what was said until now."""
    for _ in range(2):  # the library's first ping overtakes what waits in its buffer
        await client.flush(timeout=int(CONNECT_TIMEOUT_S))
