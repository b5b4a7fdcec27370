"""One connection to NATS: each call is answered within a bound, or says that it was not."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NATSError

from broker.logs import get_logger
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
from broker.transport.dialling import taken_over
from broker.transport.errors import Refused, StreamFull, Unreachable
from broker.transport.message import ID_HEADER, Ack, Message, Outgoing, Stored
from broker.transport.pulling import Puller
from broker.transport.supervised import Supervised

REQUEST_TIMEOUT_S: Final = 5.0
MAX_UNANSWERED: Final = 10_000  # publishes, or groups of them, that wait for the server
_HEADER_BYTES: Final = 32  # the version line of headers and their end
_log = get_logger()


class Link(Supervised):
    """What is said and asked over a connection that comes back. Use it with `async with`."""

    def __init__(
        self, credentials: Credentials, reread: Callable[[], Credentials] | None = None
    ) -> None:
        """Take credentials, and how to read them anew; nothing is connected yet."""
        super().__init__(credentials, reread)
        self._room = asyncio.Semaphore(MAX_UNANSWERED)

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
        return [message for each in found if (message := self._message(each)) is not None]

    def _message(self, raw: Msg) -> Message | None:
        """Return one message of a batch; None if it cannot be acknowledged: the others can."""
        try:
            return Message.of(raw.subject, raw.data, raw.headers, raw.reply, self._reply)
        except Refused as error:
            _log.error("message-not-understood", error_code=error.code)
            return None

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


def _header_bytes(headers: Mapping[str, str] | None) -> int:
    """Return the size of the library's encoding of `headers`, or a little more."""
    if not headers:
        return 0
    return _HEADER_BYTES + len("".join([*headers, *headers.values()])) + 4 * len(headers)
