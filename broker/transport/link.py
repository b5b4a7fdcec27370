"""One supervised connection to NATS: bounded waits, and a new client when the old one is closed.

Several errors close a nats-py client for good; a publish made while offline is sent when it
reconnects, even after its caller gave up. So a publish is refused while there is no connection,
and a task of this class replaces a closed client, waiting longer each time, with jitter.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NATSError

from broker.logs import get_logger
from broker.transport.acks import AckMultiplexer
from broker.transport.answers import (
    NO_RESPONDERS,
    NOT_FOUND,
    ack_of,
    answer_in,
    check_status,
    check_stored,
    stored,
)
from broker.transport.credentials import Credentials
from broker.transport.dialling import (
    CLOSE_S,
    CONNECT_TIMEOUT_S,
    MAX_CONNECT_TIMEOUT_S,
    opened,
    taken_over,
    thrown_away,
)
from broker.transport.errors import Refused, StreamFull, TransportError, Unreachable
from broker.transport.message import ID_HEADER, Ack, Message, Outgoing, Stored
from broker.transport.pace import Pace
from broker.transport.pulling import Puller

REQUEST_TIMEOUT_S: Final = 5.0
MIN_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 15.0
MAX_UNANSWERED: Final = 10_000  # publishes, or groups of them, that wait for the server
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024  # the library's own bound, for each subscription
_HEADER_BYTES: Final = 32  # the version line of headers and their end
_log = get_logger()

Answer = Callable[[str, bytes], Awaitable[bytes | None]]
"""Takes subject and payload of a request, neither trusted; None gives no answer."""


class Link:
    """A connection that comes back. Use it with `async with`."""

    def __init__(self, credentials: Credentials) -> None:
        """Take credentials; nothing is connected yet."""
        self._credentials = credentials
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
        self._room = asyncio.Semaphore(MAX_UNANSWERED)
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

    async def publish_acked(
        self,
        subject: str,
        payload: bytes,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        expect_last_subject_seq: int | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Ack:
        """Store one message in the stream of `subject`.

        Args:
            subject: Of one stream.
            payload: With the headers, at most the server's `max_payload`.
            msg_id: The stream drops a second one with the same id within its window.
            headers: Further ones.
            expect_last_subject_seq: 0: only if nothing stands on the subject.
            timeout_s: After it the outcome is unknown.

        Raises:
            StreamFull: It takes no more.
            SequenceConflict: Against the expectation.
            Unreachable: No connection, or no answer in time.
            Refused: Any other error of the server.
        """
        sent = {**(headers or {}), ID_HEADER: msg_id}
        if expect_last_subject_seq is not None:
            sent["Nats-Expected-Last-Subject-Sequence"] = str(expect_last_subject_seq)
        return ack_of(await self._ask(subject, payload, sent, timeout_s))

    async def publish_all(
        self, outgoing: Sequence[Outgoing], *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> list[bool]:
        """Store each message in the stream of its subject; false where that stream is full.

        Args:
            outgoing: Each with `ID_HEADER`; written one after the other, in no order for the
                server.
            timeout_s: After it the outcome is unknown.

        Raises:
            SequenceConflict: Against an expectation in a header.
            Unreachable: No connection, or one was not answered in time; others may be stored.
            Refused: Any other error of the server, likewise.
        """
        taken: list[bool] = []
        for answer in await self._ask_all(outgoing, timeout_s):
            if answer is None:
                raise Unreachable
            try:
                check_stored(answer)
                taken.append(True)
            except StreamFull:
                taken.append(False)
        return taken

    async def settle(self) -> None:
        """Return once the server has taken what was said until now, for example acknowledgements.

        Whoever ends right after them would lose those that wait in a buffer. Without a connection
        they are lost in any case, and what they speak of comes again.
        """
        if self._client is not None and self._client.is_connected:
            with contextlib.suppress(NATSError, OSError, TimeoutError):
                await taken_over(self._client, self._connect_s)

    async def request(
        self, subject: str, payload: bytes, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> bytes:
        """Return the answer to a request.

        Raises:
            Unreachable: No connection, nobody answers, or not in time.
        """
        answer = await self._ask(subject, payload, None, timeout_s)
        if (answer.headers or {}).get("Status") == NO_RESPONDERS:
            raise Unreachable("no answer from the hub")
        return bytes(answer.data)

    async def pull(
        self, stream: str, durable: str, *, batch: int, timeout_s: float
    ) -> list[Message]:
        """Return up to `batch` messages; what is there at once, else the first to come, else none.

        Raises:
            Unreachable: No connection, or it was lost meanwhile.
            Refused: There is no such consumer, or this account may not use it.
        """
        client = self._ready()
        puller = self._pullers.get((stream, durable))
        if puller is None:
            puller = self._pullers[stream, durable] = Puller(client, stream, durable, self._pace)
        found = await self._pulled(puller.at_once(batch))
        return found or await self._pulled(puller.next(self._pace.idle_s(timeout_s)))

    async def get_last(self, stream: str, subject: str) -> Stored | None:
        """Return the last message on `subject`, from the stream's leader; None if there is none.

        Raises:
            Unreachable: No answer in time.
            Refused: No such stream, or it is not this account's.
        """
        return await self._get(stream, {"last_by_subj": subject})

    async def get(self, stream: str, seq: int) -> Stored | None:
        """Return message number `seq`, from the stream's leader; None if it is not there.

        Raises:
            Unreachable: No answer in time.
            Refused: No such stream, or it is not this account's.
        """
        return await self._get(stream, {"seq": seq})

    async def get_next(self, stream: str, seq: int, subjects: str) -> Stored | None:
        """Return the first message from number `seq` on that `subjects` matches, if there is one.

        Raises:
            Unreachable: No answer in time.
            Refused: No such stream, or it is not this account's.
        """
        return await self._get(stream, {"seq": seq, "next_by_subj": subjects})

    async def _get(self, stream: str, which: Mapping[str, Any]) -> Stored | None:
        try:
            return stored(await self.api(f"STREAM.MSG.GET.{stream}", which))
        except Refused as error:
            if error.err_code == NOT_FOUND:
                return None
            raise

    async def api(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return JetStream's answer to one of its own requests; the hub's account alone has them.

        Raises:
            Unreachable: No answer in time.
            Refused: With JetStream's error number.
        """
        return answer_in(await self.request(f"$JS.API.{name}", json.dumps(body).encode()))

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

    async def _ask(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout_s: float
    ) -> Msg:
        """Return the answer.

        The library's own request may swallow a cancellation that meets its answer.
        """
        (answer,) = await self._ask_all((Outgoing(subject, payload, headers),), timeout_s)
        if answer is None:
            raise Unreachable
        return answer

    async def _ask_all(self, outgoing: Sequence[Outgoing], timeout_s: float) -> list[Msg | None]:
        """Return the answer to each, through the one inbox of this connection; None for none."""
        async with self._room:
            asked = self._acks.ask(len(outgoing))
            try:
                for (subject, payload, headers), reply in zip(outgoing, asked.replies, strict=True):
                    await self._publish(subject, payload, reply, headers)
                took_s = await asked.wait(self._pace.limit_s(timeout_s))
                if None not in asked.answers:
                    self._pace.answered(took_s)
                elif self.connected:
                    self._pace.missed()
            finally:
                self._acks.forget(asked)
            return asked.answers

    async def _pulled(self, pull: Awaitable[tuple[list[Msg], Msg | None]]) -> list[Message]:
        """Return the messages of a pull, or none if the server says that there are none."""
        try:
            found, said = await pull
        except (NATSError, OSError) as error:
            raise Unreachable from error
        if said is not None and not found:
            check_status(said)
        elif not found and not self.connected:
            raise Unreachable
        return [
            Message.of(each.subject, each.data, each.headers, each.reply, self._reply)
            for each in found
        ]

    async def _reply(self, subject: str, payload: bytes) -> None:
        await self._publish(subject, payload, "", None)

    async def _publish(
        self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
    ) -> None:
        client = self._ready()
        if len(payload) + _header_bytes(headers) > client.max_payload:
            raise Refused(0, "too large for the hub")  # the server would close the connection
        try:
            await client.publish(subject, payload, reply=reply, headers=headers)
        except (NATSError, OSError, ValueError) as error:
            raise Unreachable("the hub's connection does not take this") from error

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
                await self._lost.wait()
                _log.warning("connection-lost", server=self._credentials.name)
            except (NATSError, OSError, TimeoutError, TransportError) as error:
                _log.warning("connect-failed", error=type(error).__name__)
            await self._close()
            jitter = 0.5 + secrets.randbelow(1000) / 1000
            await asyncio.sleep(backoff_s * jitter)
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)

    async def _connect(self) -> None:
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

    async def _open(self, client: Client) -> None:
        await opened(
            client,
            self._credentials,
            limit_s=self._connect_s,
            on_error=self._on_error,
            on_lost=self._on_lost,
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


def _header_bytes(headers: Mapping[str, str] | None) -> int:
    """Return the size of the library's encoding of `headers`, or a little more."""
    if not headers:
        return 0
    return _HEADER_BYTES + len("".join([*headers, *headers.values()])) + 4 * len(headers)
