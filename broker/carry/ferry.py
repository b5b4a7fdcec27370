"""The ferry: a machine of the member with a link and none of its keys, between node and hub.

It submits what the node sealed, and tells the hub to forget a copy only when the node has signed
that it keeps those very bytes. Whatever it takes for the node stays at the hub until then.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from broker import clock
from broker.carry.attached import SERVICES, answer_name
from broker.carry.files import new_file
from broker.carry.form import CarryError, Header, Record, To, What, Whole, Writer, records_in
from broker.carry.leaving import hashes_in
from broker.carry.place import Asked, AskedService, FerryPlace, check_made
from broker.carry.sources import directory_answers, log_answers
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.errors import BrokerError
from broker.log.errors import LogError
from broker.log.regional import regional_policy
from broker.logs import get_logger
from broker.transport.attaching import CHUNK_TIMEOUT_S, Attaching
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.message import Message
from broker.transport.services import HubServices, busy_answer
from broker.transport.streams import inbox_of
from keys.directory.client import DirectoryCopy
from keys.errors import DirectoryError
from keys.kid import kid_of
from keys.primitives.hashing import sha256
from keys.primitives.signing import SignKey
from schemas.errors import SchemaError
from schemas.vocabulary import Lane

CONNECT_S: Final = 60.0
TRIES: Final = 3
PULL_BATCH: Final = 32
PULL_S: Final = 1.0  # for the first copy of a lane that seemed empty
_SUBJECT: Final = re.compile(
    r"submit\.([A-Z][A-Z0-9-]{1,15})\.(urgent|normal|exercise|control)\.[0-9a-f-]{36}"
)
_OPEN: Final = f"att.{Attaching.OPEN}"
_PUT: Final = f"att.{Attaching.PUT}"
_MAX_REQUEST_BYTES: Final = SEALED_CHUNK_BYTES + 1024
_MAX_SMALL_BYTES: Final = 1024  # of one that holds no chunk
_BUSY_TRIES: Final = 60
_BUSY_S: Final = 1.0
_log = get_logger()
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Handed:
    """What came of a file of the node.

    Attributes:
        envelopes: That the hub took, perhaps once more.
        done: Copies and receipts that the node keeps; the hub may forget them.
        newest: Whether no newer file of the node was taken before.
    """

    envelopes: int
    done: int
    newest: bool


@dataclass(frozen=True)
class Collected:
    """What went into a file for the node.

    Attributes:
        copies: Of alerts and answers.
        receipts: About what the node sent.
        answers: Files of the directory and the log.
        released: Copies and receipts that the node had, and the hub forgot.
        more: Whether the hub has more, which did not fit or could not be had now.
        size: Bytes of the file.
    """

    copies: int
    receipts: int
    answers: int
    released: int
    more: bool
    size: int


@dataclass
class Ferry:
    """One ferry with its link, at work."""

    place: FerryPlace
    link: Link
    member: str
    progress: Progress
    key: SignKey | None = None  # signs what the ferry writes
    _held: list[Message] = field(default_factory=list)
    _released: int = 0

    async def hand_in(self, file: BinaryIO, whole: Whole) -> Handed:
        """Submit what the node sealed, and note what it has committed, for `collect`.

        Args:
            file: Whole, and of this member; who wrote it is checked here.
            whole: As it was checked.

        Raises:
            CarryError: `carry-unsigned` or `carry-clock-ahead`: nothing of it was used.
            Unreachable: The hub cannot be reached: take the file again.
            StreamFull: The hub takes no more now: take the file again later.
            DirectoryError: The directory does not verify.
        """
        copy = await self._directory()
        try:
            key = copy.view.verification_key(self.member, whole.kid, at=clock.now())
        except DirectoryError as error:
            raise CarryError("carry-unsigned", f"the key that signed it: {error}") from error
        whole.check_signed(key)
        now = await HubServices(self.link, self.member).time()
        check_made(whole.header, now=now)
        done: set[bytes] = set()
        services: list[AskedService] = []
        handed = 0
        for _, record in records_in(file):
            if record.what is What.DONE:
                done.update(hashes_in(record))
            elif record.what is What.ENVELOPE:
                await self._submit(record)
                handed += 1
            elif record.what is What.ASK:
                services += await self._ask_now(record)
            self.progress(handed, max(1, whole.records))
        newest = self.place.ask(whole.header, done, services, now=now)
        return Handed(handed, len(done), newest)

    async def collect(self, path: Path) -> Collected:
        """Write what waits for the node to a new file at `path`.

        Raises:
            CarryError: `exists` or `cannot-write`.
            BrokerError: The hub cannot be reached.
            DirectoryError: The directory does not verify.
        """
        asked = self.place.asked()
        done = {bytes.fromhex(each) for each in asked.done}
        hub = HubServices(self.link, self.member)
        hub_ms = int((await hub.time()).timestamp() * 1000)
        header = Header(
            To.NODE,
            self.member,
            secrets.token_hex(16),
            int(clock.now().timestamp() * 1000),
            hub_ms=hub_ms,
            answers=asked.file,
        )
        try:
            with new_file(path, header) as writer:
                collected = await self._collected(writer, hub, asked, done)
        finally:
            await self._give_back()
        return collected

    async def _collected(
        self, writer: Writer, hub: HubServices, asked: Asked, done: set[bytes]
    ) -> Collected:
        more, copies, receipts, answers = False, 0, 0, 0
        try:
            async for record in self._mail(done):
                writer.add(record)
                copies += record.what is What.COPY
                receipts += record.what is What.RECEIPT
                self.progress(writer.records, writer.records)
        except CarryError as error:
            if error.code != "carry-full":
                raise
            more = True
        # After the copies: the directory then is no older than what any of them names, and the log
        # has had the time to speak of it.
        copy = await self._directory()
        for name, raw in directory_answers(copy.bundle):
            writer.add(Record(What.ANSWER, name, 0, raw))
            answers += 1
        if (log := copy.view.hub.log) is not None:
            leaves = asked.leaves if asked.origin == log.origin else 0
            witnessed = bool(regional_policy(copy.view, at=clock.now()).witnesses)
            try:
                async for name, raw in log_answers(hub, leaves, witnessed=witnessed):
                    writer.add(Record(What.ANSWER, name, 0, raw))
                    answers += 1
            except (BrokerError, LogError, SchemaError) as error:  # the next file has it
                _log.warning("log-not-collected", error_code=error.code)
                more = True
        count = await self._answers(writer, asked.services)
        answers, more = answers + count, more or count < len(asked.services)
        kid = b"" if self.key is None else kid_of(self.key.public.raw)
        writer.end(kid, self.key)
        return Collected(copies, receipts, answers, self._released, more, writer.size)

    async def _submit(self, record: Record) -> None:
        named = _SUBJECT.fullmatch(record.name)
        if named is None or named[1] != self.member:
            raise CarryError("carry-damaged", "an envelope in the file goes nowhere")
        for attempt in range(TRIES):
            # A new id each time: the broker drops a repetition by its id, and with it the receipt.
            msg_id = f"{sha256(record.payload).hex()}.{secrets.token_hex(8)}"
            try:
                await self.link.publish_acked(record.name, record.payload, msg_id=msg_id)
            except Unreachable:
                if attempt + 1 == TRIES:
                    raise
                await self.link.wait_connected(CONNECT_S)
            else:
                return

    async def _answers(self, writer: Writer, asked: Sequence[AskedService]) -> int:
        """Write what the hub answers to each request; return how many answers fitted."""
        for number, service in enumerate(asked):
            payload = bytes.fromhex(service.payload)
            raw = await self._requested(service.name, payload)
            try:
                writer.add(Record(What.ANSWER, answer_name(service.name, payload), 0, raw))
            except CarryError as error:
                if error.code != "carry-full":
                    raise
                return number
        return len(asked)

    async def _ask_now(self, record: Record) -> list[AskedService]:
        """Make a request of the node's if it hands something in; return it if an answer is wanted.

        Raises:
            CarryError: `carry-damaged`.
            BrokerError: The hub does not answer.
        """
        if record.name not in SERVICES or len(record.payload) > _MAX_REQUEST_BYTES:
            raise CarryError("carry-damaged", "a request in the file is none that the hub knows")
        if record.name == _PUT:
            await self._requested(record.name, record.payload)
            return []
        if not 0 < len(record.payload) <= _MAX_SMALL_BYTES:
            raise CarryError("carry-damaged", "a request in the file is empty or too long")
        if record.name == _OPEN:  # before the chunks that come behind it
            await self._requested(record.name, record.payload)
        return [AskedService(name=record.name, payload=record.payload.hex())]

    async def _requested(self, service: str, payload: bytes) -> bytes:
        """Return the hub's answer, whatever it says; a hub that asks to wait is waited for.

        Raises:
            BrokerError: The hub does not answer.
        """
        subject = f"hub.{self.member}.{service}"
        raw = await self.link.request(subject, payload, timeout_s=CHUNK_TIMEOUT_S)
        for _ in range(_BUSY_TRIES):
            if raw != busy_answer():
                break
            await asyncio.sleep(_BUSY_S)
            raw = await self.link.request(subject, payload, timeout_s=CHUNK_TIMEOUT_S)
        return raw

    async def _mail(self, done: set[bytes]) -> AsyncIterator[Record]:
        """Yield every copy and receipt at the hub but those that are done, which are released."""
        for lane in Lane:
            async for message in self._pulled(inbox_of(self.member, lane), str(lane), done):
                yield Record(What.COPY, str(lane), message.attempts, message.payload)
        async for message in self._pulled(f"RECEIPT_{self.member}", self.member, done):
            yield Record(What.RECEIPT, message.subject, message.attempts, message.payload)

    async def _pulled(self, stream: str, durable: str, done: set[bytes]) -> AsyncIterator[Message]:
        seen: set[int] = set()
        while True:
            messages = await self.link.pull(stream, durable, batch=PULL_BATCH, timeout_s=PULL_S)
            new = [message for message in messages if message.stream_seq not in seen]
            if not new:
                return
            for message in new:
                seen.add(message.stream_seq)
                if sha256(message.payload) in done:
                    await message.ack()
                    self._released += 1
                else:
                    self._held.append(message.bare())
                    yield message

    async def _give_back(self) -> None:
        """Let the hub give out again at once what was taken for the file."""
        for message in self._held:
            try:
                await message.nak()
            except BrokerError as error:  # it is given out again a little later, by itself
                _log.info("not-given-back", error_code=error.code)
                break
        self._held.clear()
        await self.link.settle()

    async def _directory(self) -> DirectoryCopy:
        hub = HubServices(self.link, self.member)
        return await self.place.directory.refresh(hub.read, now=clock.now())
