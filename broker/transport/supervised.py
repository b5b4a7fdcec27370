"""The supervised part of a link: a client that comes back, and what it serves and waits for.

Several errors close a nats-py client for good; a publish made while offline is sent when it
reconnects, even after its caller gave up. So a publish is refused while there is no connection,
and a task of this class replaces a closed client, waiting longer each time, with jitter.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NATSError

from broker.errors import BrokerError
from broker.logs import get_logger
from broker.transport.acks import AckMultiplexer
from broker.transport.credentials import Credentials
from broker.transport.dialling import (
    CLOSE_S,
    CONNECT_TIMEOUT_S,
    MAX_CONNECT_TIMEOUT_S,
    opened,
    taken_over,
    thrown_away,
)
from broker.transport.errors import TransportError, Unreachable
from broker.transport.pace import Pace
from broker.transport.pulling import Puller
from keys.errors import KeysError

LOOK_S: Final = 1.0  # whether there still is a connection, said or not
MIN_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 15.0
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024  # the library's own bound, for each subscription
_log = get_logger()

Answer = Callable[[str, bytes], Awaitable[bytes | None]]
"""Takes subject and payload of a request, neither trusted; None gives no answer."""


class Supervised:
    """A connection that comes back, with its subscriptions. Use it with `async with`."""

    def __init__(
        self, credentials: Credentials, reread: Callable[[], Credentials] | None = None
    ) -> None:
        """Take credentials; nothing is connected yet.

        Args:
            credentials: What it is let in with.
            reread: Gives what the same user is let in with now, before each attempt: what was read
                once may have been replaced, and would be refused for ever.
        """
        self._credentials = credentials
        self._reread = reread
        self._client: Client | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._settled = asyncio.Event()  # Not connecting at this moment.
        self._settled.set()
        self._acks = AckMultiplexer()
        self._pullers: dict[tuple[str, str], Puller] = {}  # Of this connection, by consumer.
        self._served: list[tuple[str, Answer, int]] = []
        self._generation = 0
        self._connect_s = CONNECT_TIMEOUT_S
        self._pace = Pace()

    @property
    def generation(self) -> int:
        """How many connections there were; a change tells that a server may have forgotten."""
        return self._generation

    @property
    def is_slow(self) -> bool:
        """Whether answers take so long that little should be on its way at one time."""
        return self._pace.is_slow

    @property
    def connected(self) -> bool:
        """Whether the server answers at this moment, as far as is known."""
        return self._client is not None and self._client.is_connected

    async def __aenter__(self) -> Self:
        # Not in a TaskGroup: it lives as long as this object, which cancels and awaits it.
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._supervisor is not None:
            # Cut short while it connects, the library leaves a socket open or swallows it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._settled.wait()
            while not self._supervisor.done():
                self._supervisor.cancel()
                await asyncio.wait((self._supervisor,), timeout=CLOSE_S)
        await self._close()

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Return once there is a connection.

        Raises:
            Unreachable: There was none within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self.connected:
                    self._connected.clear()
                    await self._connected.wait()
        except TimeoutError:
            raise Unreachable from None

    async def serve(
        self, subject: str, answer: Answer, *, waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        """Answer requests on `subject` from now on, one at a time, through every reconnection.

        Args:
            subject: May hold wildcards.
            answer: What to answer.
            waiting_bytes: Requests beyond so many that wait are dropped, unanswered.
        """
        self._served.append((subject, answer, waiting_bytes))
        if self._client is not None and self._client.is_connected:
            client = self._client
            with contextlib.suppress(NATSError, OSError, TimeoutError):  # the next one has it
                await self._subscribe(client, subject, answer, waiting_bytes)
                await taken_over(client, self._connect_s)

    def _ready(self) -> Client:
        if self._client is None or not self._client.is_connected:
            raise Unreachable
        return self._client

    async def _supervise(self) -> None:
        """Keep one client alive. The only writer of `_client`."""
        backoff_s = MIN_BACKOFF_S
        while True:
            try:
                self._lost.clear()
                self._settled.clear()
                try:
                    await self._connect()
                finally:
                    self._settled.set()
                backoff_s = MIN_BACKOFF_S
                await self._until_lost()
                _log.warning("connection-lost", server=self._credentials.name)
            except (NATSError, OSError, TimeoutError, TransportError) as error:
                _log.warning("connect-failed", error=type(error).__name__)
            await self._close()
            jitter = 0.5 + secrets.randbelow(1000) / 1000
            await asyncio.sleep(backoff_s * jitter)
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)

    async def _until_lost(self) -> None:
        """Return once the connection is gone, which the library does not always say.

        It may wait for ever, when a server dies, for bytes to leave that it had not sent.
        """
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._lost.wait()
            if not self.connected:
                await self._on_lost()

    async def _connect(self) -> None:
        self._take_up_credentials()
        client = Client()
        try:
            await self._open(client)
        except BaseException:
            await thrown_away(client)  # a failed attempt leaves its socket open
            self._connect_s = min(MAX_CONNECT_TIMEOUT_S, self._connect_s * 2)
            raise
        self._client = client
        self._pullers.clear()
        self._generation += 1
        self._connected.set()
        _log.info("connected", server=self._credentials.name)

    def _take_up_credentials(self) -> None:
        """Take what the key store holds by now; where that cannot be read, what was held stays."""
        if self._reread is None:
            return
        try:
            self._credentials = self._reread()
        except (BrokerError, KeysError) as error:
            _log.warning("credentials-not-read", error_code=error.code)

    async def _open(self, client: Client) -> None:
        async def lost() -> None:
            if self._client in (None, client):  # else it was given up, and says so late
                await self._on_lost()

        await opened(
            client,
            self._credentials,
            limit_s=self._connect_s,
            on_error=self._on_error,
            on_lost=lost,
        )
        inbox = client.new_inbox()
        self._acks.opened(inbox)
        await client.subscribe(f"{inbox}.*", cb=self._on_ack)
        for served in self._served:
            await self._subscribe(client, *served)
        self._pace.greeted(await taken_over(client, self._connect_s))

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await thrown_away(client)

    async def _subscribe(
        self, client: Client, subject: str, answer: Answer, waiting_bytes: int
    ) -> None:
        async def reply(message: Msg) -> None:
            if not message.reply:
                return
            try:
                answered = await answer(message.subject, bytes(message.data))
                if answered is not None:
                    await client.publish(message.reply, answered)
            except Exception:  # noqa: BLE001 - the edge of a service: it must go on serving
                _log.exception("service-failed")

        await client.subscribe(subject, cb=reply, pending_bytes_limit=waiting_bytes)

    async def _on_ack(self, message: Msg) -> None:
        self._acks.arrived(message)

    async def _on_lost(self) -> None:
        self._lost.set()
        self._acks.lost()
        for puller in self._pullers.values():
            puller.lost()
        self._pullers.clear()

    async def _on_error(self, error: Exception) -> None:
        _log.warning("nats-error", error=type(error).__name__)
