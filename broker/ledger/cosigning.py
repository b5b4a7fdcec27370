"""Collects the members' cosignatures, round by round, and knows where each witness stands.

A round is one checkpoint put to all witnesses; the next begins ten seconds later, or ten minutes
later if the log did not grow. Witnesses ask; the hub never calls a node. What they hand in counts
once it verifies under the key that the threshold signed for them.

Before the log's first growth after a start, `Standing.compare` asks what enough witnesses cosigned
last: a log put back from a backup would otherwise fork honestly.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from broker import clock
from broker.ledger.errors import LedgerError
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.line import read_number
from broker.log.merkle import consistency_proof, tree_root
from broker.log.note import Note, SignatureLine, parse_line, parse_note
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import lookup_in, parse_path
from broker.log.witness import WitnessRequest
from broker.logs import get_logger
from broker.store.tilefiles import CHECKPOINT, COSIGNED, TileFiles, older_name
from broker.transport.limited import Limited
from broker.transport.link import Link
from broker.transport.services import Witnessing, asked_by, asked_file, asked_offset, piece_of

AGAIN: Final = timedelta(minutes=10)  # without growth, so that cosignatures stay fresh
KEEP_OLDER: Final = timedelta(hours=1)  # between checkpoints kept for auditors
WARN_AFTER: Final = timedelta(minutes=1)  # without a quorum
ALARM_AFTER: Final = timedelta(minutes=15)
AGREE_POLL_S: Final = 0.25
RATE_PER_S: Final = 100.0
BURST: Final = 1_000.0
TELL_LATEST: Final = b"latest\n"
TAKEN: Final = b"taken\n"
REFUSED: Final = b"refused\n"
_STATUS: Final = b" "
_log = get_logger()


@dataclass
class _Round:
    checkpoint: Checkpoint
    note: Note
    begun_at: datetime
    lines: dict[bytes, SignatureLine] = field(default_factory=dict)
    met: bool = False


@dataclass
class Cosigning:
    """Answers witnesses on one link.

    Attributes:
        files: The published log.
        round_s: Least time between two checkpoints put to the witnesses.
        policy: Its keys, its witnesses and their quorum, as the directory has them now.
        latest: What each witness showed since this start as the last that it cosigned; None: it
            says that it never did.
        behind: A witness saw more leaves than this log has: it was put back, or there are two.
    """

    files: TileFiles
    policy: Callable[[], Policy]
    round_s: float = 10.0
    now: Callable[[], datetime] = clock.now
    latest: dict[bytes, SignedCheckpoint | None] = field(default_factory=dict)
    behind: bool = False
    _round: _Round | None = None
    _kept_at: datetime | None = None
    _unmet_since: datetime | None = None

    async def serve(self, link: Link) -> None:
        """Answer from now on, files of the log included."""
        limited = Limited(rate_per_s=RATE_PER_S, burst=BURST)
        await link.serve("hub.*.log.>", limited(self._file))
        for what, answer in (
            (Witnessing.NEXT, self.next),
            (Witnessing.SUBMIT, self.submit),
            (Witnessing.LATEST, self.show),
        ):
            await link.serve(f"hub.*.witness.{what}", limited(_by_member(answer)))

    def next(self, member: bytes, body: bytes) -> bytes:
        """Return what `member` shall cosign, nothing, or that it shall show its latest.

        Args:
            member: Who asks, as the connection tells.
            body: The size that it cosigned last, with a line feed.

        Raises:
            LogError: Of the body.
        """
        old = _size(body)
        if member not in self.latest:
            return TELL_LATEST
        current = self._current()
        if current is None or member in current.lines:
            return b""
        if old > current.checkpoint.size:
            if old > self._published_size():
                self._say_behind(member, old)
            return b""
        lookup = self._lookup(current.checkpoint.size)
        proof = consistency_proof(old, current.checkpoint.size, lookup)
        return WitnessRequest(old, proof, current.note).to_bytes()

    def submit(self, member: bytes, body: bytes) -> bytes:
        """Take what `member` answered to what it was asked to cosign.

        Args:
            member: Who answers.
            body: A status of HTTP, a space, and the body of that answer.

        Raises:
            LogError: `bad-witness-answer`, or the signature does not verify.
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
        self.latest[member] = signed
        self._count(current)
        return TAKEN

    def show(self, member: bytes, body: bytes) -> bytes:
        """Take the checkpoint that `member` cosigned last; an empty body says that there is none.

        Raises:
            LogError: It is not signed by the log and by this member.
        """
        if not body:
            self.latest.setdefault(member, None)
            return TAKEN
        signed = self.policy().verify_log(body)
        if member not in signed.cosigned:
            raise LogError("bad-witness-answer", "no cosignature of this witness")
        self.latest[member] = signed
        return TAKEN

    def compare(self, size: int) -> bool:
        """Return whether enough witnesses showed what they cosigned, and all of it is ours.

        Enough are so many that any quorum has one of them: all but a quorum, and one more.

        Args:
            size: Of the log as its own store has it.

        Raises:
            LedgerError: `witness-ahead`: leaves are missing here; `fork`: another tree was signed.
        """
        policy = self.policy()
        lookup = self._lookup(size)
        for witness in policy.witnesses:
            signed = self.latest.get(witness.name)
            if signed is None:
                continue
            name, seen = witness.name.decode(), signed.checkpoint
            if seen.size > size:
                raise LedgerError(
                    "witness-ahead", f"{name} cosigned {seen.size} leaves, here are {size}"
                )
            if tree_root(seen.size, lookup) != seen.root:
                raise LedgerError("fork", f"{name} cosigned another tree of {seen.size} leaves")
        needed = min((group.threshold for group in policy.groups), default=0)
        shown = sum(witness.name in self.latest for witness in policy.witnesses)
        return not needed or shown >= len(policy.witnesses) - needed + 1

    async def wait_agreed(self, size: int) -> None:
        """Return once `compare` does; until then the log does not grow, and traffic goes on.

        Raises:
            LedgerError: As `compare`.
        """
        began = self.now()
        said = began
        while not self.compare(size):
            await asyncio.sleep(AGREE_POLL_S)
            now = self.now()
            if now - began >= WARN_AFTER and now - said >= WARN_AFTER:
                said = now
                _log.error("log-waits", shown=len(self.latest), alarm="log-waits")

    async def watch_quorum(self) -> None:
        """Say for ever when the quorum is missing."""
        while True:
            await asyncio.sleep(WARN_AFTER.total_seconds())
            self.say_unmet()

    def say_unmet(self) -> None:
        """Warn after a minute without a quorum, and raise an alarm after fifteen."""
        if self._unmet_since is None:
            return
        waited = self.now() - self._unmet_since
        seconds = int(waited.total_seconds())
        if waited >= ALARM_AFTER:
            _log.error("quorum-unmet", seconds=seconds, alarm="quorum-unmet")
        elif waited >= WARN_AFTER:
            _log.warning("quorum-unmet", seconds=seconds)

    def _current(self) -> _Round | None:
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
            return None
        self._round = _Round(checkpoint, note, now)
        if self._unmet_since is None:
            self._unmet_since = now
        return self._round

    def _cosigned(self, current: _Round, answer: bytes) -> SignedCheckpoint:
        try:
            line = parse_line(answer.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise LogError("bad-witness-answer", "no signature line") from None
        return self.policy().verify_log(current.note.signed_also((line,)).to_bytes())

    def _count(self, current: _Round) -> None:
        if not self.policy().quorum_met(current.lines.keys()):
            return
        note = current.note.signed_also(tuple(current.lines.values())).to_bytes()
        if not current.met:
            current.met, self._unmet_since = True, None
            _log.info("cosigned", size=current.checkpoint.size, witnesses=len(current.lines))
        self.files.publish_note(COSIGNED, note)
        if self._kept_at is None or current.begun_at - self._kept_at >= KEEP_OLDER:
            self._kept_at = current.begun_at
        if self._kept_at == current.begun_at:
            self.files.publish_note(older_name(current.checkpoint.size), note)

    def _published_size(self) -> int:
        raw = self.files.checkpoint()
        return 0 if raw is None else parse_checkpoint(parse_note(raw).text).size

    def _say_behind(self, member: bytes, size: int) -> None:
        if not self.behind:
            _log.error("witness-ahead", member=member.decode(), size=size, alarm="witness-ahead")
        self.behind = True

    def _lookup(self, size: int) -> Callable[[int, int], bytes]:
        return lookup_in(self.files.read, size)

    def _file(self, subject: str, payload: bytes) -> bytes:
        path = asked_file(subject)
        if path not in {CHECKPOINT, COSIGNED}:
            parse_path(path)
        return piece_of(self.files.raw(path), asked_offset(payload))


def _by_member(answer: Callable[[bytes, bytes], bytes]) -> Callable[[str, bytes], bytes]:
    def answered(subject: str, payload: bytes) -> bytes:
        return answer(asked_by(subject).encode(), payload)

    return answered


def _size(body: bytes) -> int:
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return read_number(text.removesuffix("\n"), code="bad-witness-request")
