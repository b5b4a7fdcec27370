"""Collects the members' cosignatures, round by round.

A round is one checkpoint put to all witnesses; the next begins ten seconds later, or ten minutes
later if the log did not grow, and one more at the end of the process. Witnesses ask; the hub never
calls a node. What they hand in counts once it verifies under the key that the threshold signed for
them. Where each of them stands is kept in `broker.ledger.standings`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from broker import clock
from broker.ledger.borrowing import Borrowing
from broker.ledger.lastbefore import keep_before_directory
from broker.ledger.quorum import Quorum
from broker.ledger.standings import Standings
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.line import read_number
from broker.log.merkle import consistency_proof
from broker.log.note import Note, SignatureLine, parse_line, parse_note
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import lookup_in, parse_path
from broker.log.witness import WitnessRequest
from broker.logs import get_logger
from broker.store.tilefiles import (
    CHECKPOINT,
    COSIGNED,
    TileFiles,
    older_name,
    older_size,
    over_number,
)
from broker.store.witnessed import WitnessedAt
from broker.transport.limited import Limited
from broker.transport.link import Link
from broker.transport.services import (
    REFUSED,
    TAKEN,
    TELL_LATEST,
    Witnessing,
    asked_by,
    asked_file,
    busy_answer,
    piece_for,
)
from keys.errors import KeysError

AGAIN: Final = timedelta(minutes=10)  # without growth, so that cosignatures stay fresh
KEEP_OLDER: Final = timedelta(hours=1)  # between checkpoints kept for auditors
LAST_ROUND_S: Final = 3.0  # a node whose mail waits for a proof asks once a second
RATE_PER_S: Final = 100.0
BURST: Final = 1_000.0
NO_LOG: Final = "no-log"  # the directory does not name it yet
_STATUS: Final = b" "
_log = get_logger()


@dataclass
class _Round:
    checkpoint: Checkpoint
    note: Note
    begun_at: datetime
    lines: dict[bytes, SignatureLine] = field(default_factory=dict)
    met: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Cosigning:
    """Answers witnesses on one link.

    Attributes:
        files: The published log.
        policy: Its keys, its witnesses and their quorum, as the directory has them now.
        round_s: Least time between two checkpoints put to the witnesses.
    """

    files: TileFiles
    policy: Callable[[], Policy]
    round_s: float = 10.0
    now: Callable[[], datetime] = clock.now
    _round: _Round | None = None
    _kept_at: datetime | None = None
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        """Join the parts."""
        self.standings = Standings(self.files, self.policy)
        self.quorum = Quorum(WitnessedAt(self.files.folder), AGAIN, self.now)
        self.borrowing: Borrowing | None = None  # From a start until the witnesses agree.
        self.served = asyncio.Event()  # Set once witnesses are answered.

    async def serve(self, link: Link) -> None:
        """Answer from now on, files of the log included."""
        limited = Limited(rate_per_s=RATE_PER_S, burst=BURST)
        await link.serve("hub.*.log.>", limited(self._file))
        for what, answer in (
            (Witnessing.NEXT, self.next),
            (Witnessing.SUBMIT, self.submit),
            (Witnessing.LATEST, self.standings.show),
            (Witnessing.OTHERS, self.standings.others),
            (Witnessing.REPORT, self.standings.report),
            (Witnessing.REPORTED, self.standings.reported),
            (Witnessing.LEAVES, self._lent),
        ):
            await link.serve(f"hub.*.witness.{what}", limited(_by_member(answer)))
        self.served.set()

    async def next(self, member: bytes, body: bytes) -> bytes:
        """Return what `member` shall cosign, nothing, or that it shall show its latest.

        Args:
            member: Who asks, as the connection tells.
            body: The size that it cosigned last, with a line feed.

        Raises:
            LogError: Of the body.
            StoreError: A tile is missing, or the disk takes no more.
        """
        old = _size(body)
        if self.borrowing is not None and (wanted := self.borrowing.next(member)) is not None:
            return wanted
        if member not in self.standings.latest or old > self.standings.published_size():
            return TELL_LATEST
        current = await self._current()
        if current is None or member in current.lines or old > current.checkpoint.size:
            return b""
        lookup = lookup_in(self.files.read, current.checkpoint.size)
        proof = consistency_proof(old, current.checkpoint.size, lookup)
        return WitnessRequest(old, proof, current.note).to_bytes()

    async def submit(self, member: bytes, body: bytes) -> bytes:
        """Take what `member` answered to what it was asked to cosign.

        Args:
            member: Who answers.
            body: A status of HTTP, a space, and the body of that answer.

        Raises:
            LogError: `bad-witness-answer`, or the signature does not verify.
            StoreError: The disk takes no more.
        """
        status, _, answer = body.partition(_STATUS)
        if status != str(HTTPStatus.OK.value).encode():
            known = status in {str(each.value).encode() for each in HTTPStatus}
            code = status.decode() if known else "none"
            _log.error("not-cosigned", member=member.decode(), status=code, alarm="not-cosigned")
            return TAKEN
        current = self._round
        if current is None:
            return REFUSED
        signed = self._cosigned(current, answer)
        if member not in signed.cosigned:
            raise LogError("bad-witness-answer", "no cosignature of this witness")
        current.lines[member] = signed.note.signatures[-1]
        self.standings.latest[member] = signed
        async with self._writing:
            await self._count(current)
        return TAKEN

    async def wait_agreed(self, size: int) -> None:
        """Return once enough witnesses showed that what they cosigned is in this log.

        While the directory does not name the log nobody can be asked. A home that was put back from
        a backup does not know that it was named: so a log without a name waits as well.

        Raises:
            LedgerError: As `Standings.compare`, or `Borrowing.wait_agreed`.
        """
        try:
            await self.served.wait()
            if self.borrowing is None:
                await self.standings.wait_agreed(size)
            else:
                await self.borrowing.wait_agreed(size)
        finally:
            self.standings.borrows = False  # from now on more leaves than ours stop the log

    async def watch_quorum(self) -> None:
        """Begin rounds for ever, asked or not, and say when the quorum is missing.

        Raises:
            LedgerError: A witness has a signed checkpoint that is not of this log: the process
                must end, and nothing more be signed.
        """
        while True:
            await self.tick()
            try:
                async with asyncio.timeout(self.round_s):
                    await self.standings.changed.wait()
            except TimeoutError:
                continue

    async def tick(self) -> None:
        """Do once what `watch_quorum` does."""
        if self.standings.wrong is not None:
            raise self.standings.wrong
        try:
            await self._current()
        except (LogError, KeysError) as error:  # more witnesses are asked for than have keys, say
            if error.code != NO_LOG:
                _log.error("no-round", error_code=error.code, alarm=error.code)
        self.quorum.say()

    async def last_round(self, within_s: float = LAST_ROUND_S) -> bool:
        """Put the newest checkpoint to the witnesses now; return whether a quorum stood behind it.

        For the end of the process. Who does not ask in time cosigns it after the next start.
        """
        newest = self.standings.published_size()
        if self._round is None or self._round.checkpoint.size < newest:
            self._round = None
        try:
            current = await self._current()
        except (LogError, KeysError):  # nobody can be asked
            return False
        if current is None:
            return False
        try:
            async with asyncio.timeout(within_s):
                return await current.met.wait()
        except TimeoutError:
            return False

    async def _current(self) -> _Round | None:
        raw = self.files.checkpoint()
        if raw is None:
            return None
        note = parse_note(raw)
        checkpoint, now = parse_checkpoint(note.text), self.now()
        current = self._round
        if current is not None:
            age = now - current.begun_at
            grown = checkpoint.size > current.checkpoint.size
            if not (age >= AGAIN or (grown and age.total_seconds() >= self.round_s)):
                return current
        if not checkpoint.size:
            await self.quorum.needless()
            return None
        asks_for_none = self.policy().quorum is None
        self._round = current = _Round(checkpoint, note, now)
        if asks_for_none:
            current.met.set()
            await self.quorum.needless()
        else:
            await self.quorum.due(now)
        return current

    def _cosigned(self, current: _Round, answer: bytes) -> SignedCheckpoint:
        try:
            line = parse_line(answer.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise LogError("bad-witness-answer", "no signature line") from None
        return self.policy().verify_log(current.note.signed_also((line,)).to_bytes())

    async def _count(self, current: _Round) -> None:
        if not self.policy().quorum_met(current.lines.keys()):
            return
        note = current.note.signed_also(tuple(current.lines.values())).to_bytes()
        if not current.met.is_set():
            await asyncio.to_thread(keep_before_directory, self.files, current.checkpoint.size)
        await asyncio.to_thread(self.files.publish_note, COSIGNED, note)
        if not current.met.is_set():
            current.met.set()
            await self.quorum.met()
            _log.info("cosigned", size=current.checkpoint.size, count=len(current.lines))
        if self._kept_at is None or current.begun_at - self._kept_at >= KEEP_OLDER:
            self._kept_at = current.begun_at
        if self._kept_at == current.begun_at:
            name = older_name(current.checkpoint.size)
            await asyncio.to_thread(self.files.publish_note, name, note)

    def _lent(self, member: bytes, body: bytes) -> bytes:
        return REFUSED if self.borrowing is None else self.borrowing.take(member, body)

    def _file(self, subject: str, payload: bytes) -> bytes:
        path = asked_file(subject)
        if self.standings.lacks:
            return busy_answer()
        if (number := over_number(path)) is not None:
            return piece_for(self.files.oldest_over(number), payload)
        if path not in {CHECKPOINT, COSIGNED} and older_size(path) is None:
            parse_path(path)
        return piece_for(self.files.raw(path), payload)


Answering = Callable[[bytes, bytes], bytes | Awaitable[bytes]]


def _by_member(answer: Answering) -> Callable[[str, bytes], bytes | Awaitable[bytes]]:
    def answered(subject: str, payload: bytes) -> bytes | Awaitable[bytes]:
        return answer(asked_by(subject).encode(), payload)

    return answered


def _size(body: bytes) -> int:
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return read_number(text.removesuffix("\n"), code="bad-witness-request")
