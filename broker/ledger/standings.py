"""Where each witness stands, in its own signed words, held against the log on this disk.

A log that was put back from a backup would fork honestly; one whose key was copied forks otherwise.
Either shows in what a witness cosigned last, or in what one refused to cosign. What a number alone
claims stops nothing: only a checkpoint under the log's own signatures does.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from broker.ledger.errors import LedgerError
from broker.log.answered import answered_for
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.line import read_number
from broker.log.merkle import tree_root
from broker.log.note import Note, parse_note
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import lookup_in
from broker.log.witness import parse_request
from broker.logs import get_logger
from broker.store.lacking import Lacking
from broker.store.tilefiles import TileFiles
from broker.transport.services import MAX_REPORT_BYTES, TAKEN, cosigned_answer

AGREE_POLL_S: Final = 0.25
SAY_AFTER_S: Final = 60.0  # of waiting for the witnesses after a start
MAX_REPORTS: Final = 64  # of one member, kept in memory until the next start; one is enough
MAX_REPORTED_BYTES: Final = 1024 * 1024  # likewise; a hundred of the usual size
AHEAD: Final = "witness-ahead"
FORK: Final = "fork"
Tree: TypeAlias = tuple[int, bytes]
"""Size and root; extensions, which one stolen key can vary, make no other tree."""
Room: TypeAlias = tuple[int, int]
"""How many reports, and their bytes."""
_log = get_logger()


@dataclass
class Standings:
    """Owned by the task that answers witnesses; nobody else writes it.

    Attributes:
        files: The published log.
        policy: Its keys, its witnesses and their quorum, as the directory has them now.
        steady: Seconds, never put right: a clock that jumps is no wait.
        latest: What each witness showed since this start as the last that it cosigned; None: it
            says that it never did.
        reports: Requests under the log's signature that a witness refused, for all the others.
        wrong: Why the log must not grow on; set once.
        changed: Set together with `wrong`.
        shown: Set whenever a witness showed what it cosigned; whoever waits for that clears it.
        borrows: Whether leaves that are missing here can be had from the members.
        lacks: Whether some are: what is here must not be shown as if it were all.
    """

    files: TileFiles
    policy: Callable[[], Policy]
    steady: Callable[[], float] = time.monotonic
    latest: dict[bytes, SignedCheckpoint | None] = field(default_factory=dict)
    reports: list[bytes] = field(default_factory=list)
    wrong: LedgerError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    borrows: bool = False
    lacks: bool = False
    _lines: dict[Tree, int] = field(default_factory=dict)  # The log's, at most, in the reports.
    _room: dict[bytes, Room] = field(default_factory=dict)  # What each member's reports take.

    def __post_init__(self) -> None:
        """Remember over a restart that leaves are missing: the witnesses may be silent now."""
        self.lacks = self.lacks or Lacking(self.files.folder).is_marked()

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
        self.shown.set()
        self._hold(member, signed.checkpoint)
        return TAKEN

    def report(self, member: bytes, body: bytes) -> bytes:
        """Take a request that `member` refused although the log had signed it.

        One signature of the log is enough to tell the others. Only a checkpoint under all of them
        stops the log: else whoever has one of its keys could.

        Raises:
            LogError: The log did not sign it; or it is no request.
        """
        if len(body) > MAX_REPORT_BYTES:
            raise LogError("bad-witness-request", "a report of that length")
        policy, request = self.policy(), parse_request(body)
        note = answered_for(body, [log.key for log in policy.logs])
        if note is None:
            raise LogError("unverified", "no signature of the log")
        if self._is_news(member, note, body):
            self.reports.append(body)
            size = parse_checkpoint(note.text).size
            _log.warning("refused-by-witness", member=member.decode(), size=size)
        try:
            signed = policy.verify_log(request.note.to_bytes())
        except LogError as error:
            _log.warning("report-of-one-key", member=member.decode(), error_code=error.code)
            return TAKEN
        self._hold(member, signed.checkpoint)
        return TAKEN

    def _is_news(self, member: bytes, note: Note, body: bytes) -> bool:
        """Return whether the others should be told, and note that they are.

        A tree is told of once, and again under more of the log's signatures: whatever else is
        in a report, its sender chose. And nobody's reports take the room of another's.
        """
        checkpoint = parse_checkpoint(note.text)
        tree, lines = (checkpoint.size, checkpoint.root), len(note.signatures)
        count, length = self._room.get(member, (0, 0))
        if lines <= self._lines.get(tree, 0):
            return False
        if count >= MAX_REPORTS or length + len(body) > MAX_REPORTED_BYTES:
            return False
        self._lines[tree] = lines
        self._room[member] = (count + 1, length + len(body))
        return True

    def reported(self, _member: bytes, body: bytes) -> bytes:
        """Return the report of that number, from 0; empty if there is none.

        Raises:
            LogError: Of the body.
        """
        text = body.decode("ascii", "replace").removesuffix("\n")
        number = read_number(text, code="bad-witness-request")
        return self.reports[number] if number < len(self.reports) else b""

    def others(self, _member: bytes, _body: bytes) -> bytes:
        """Return what every witness cosigned last, for one that lost its memory."""
        return cosigned_answer([each.note.to_bytes() for each in self.latest.values() if each])

    def complete(self) -> None:
        """Note that all leaves are here: from now on, who has more stops the log.

        Raises:
            StoreError: `log-disk`.
        """
        self.borrows = self.lacks = False
        Lacking(self.files.folder).forget()

    def refute(self) -> bool:
        """Return whether what a witness showed forbids growth, whatever an operator lets."""
        return self.lacks or self.wrong is not None

    def compare(self, size: int) -> bool:
        """Return whether enough witnesses showed what they cosigned, and all of it is ours.

        Enough are so many that any quorum has one of them: all but a quorum, and one more. Who
        says that it never cosigned anything counts only while there is nothing to cosign: else it
        cosigns what is in sight, and counts then.

        Args:
            size: Of the log as its own store has it.

        Raises:
            LedgerError: `witness-ahead`: leaves are missing here; `fork`: another tree was signed.
        """
        policy = self.policy()
        shown = 0
        for witness in policy.witnesses:
            if witness.name not in self.latest:
                continue
            signed = self.latest[witness.name]
            if signed is not None:
                self._against(witness.name, signed.checkpoint, size)
            shown += signed is not None or not size
        needed = min((group.threshold for group in policy.groups), default=0)
        return not needed or shown >= len(policy.witnesses) - needed + 1

    async def wait_agreed(self, size: int) -> None:
        """Return once `compare` does; until then the log does not grow, and traffic goes on.

        Raises:
            LedgerError: As `compare`.
        """
        said_s = self.steady()
        while not self.compare(size):
            await asyncio.sleep(AGREE_POLL_S)
            now_s = self.steady()
            if now_s - said_s >= SAY_AFTER_S:
                said_s = now_s
                _log.error("log-waits", count=len(self.latest), alarm="log-waits")

    def published_size(self) -> int:
        """Return how many leaves are under the checkpoint in sight."""
        raw = self.files.checkpoint()
        return 0 if raw is None else parse_checkpoint(parse_note(raw).text).size

    def _hold(self, member: bytes, seen: Checkpoint) -> None:
        try:
            self._against(member, seen, self.published_size())
        except LedgerError as error:
            if self.borrows and error.code == AHEAD:  # it is seen again after that
                self.lacks = True
                Lacking(self.files.folder).mark()
                return
            if self.wrong is None:
                _log.error(error.code, member=member.decode(), size=seen.size, alarm=error.code)
            self.wrong = self.wrong or error
            self.changed.set()

    def _against(self, member: bytes, seen: Checkpoint, size: int) -> None:
        name = member.decode()
        if not seen.size:
            return
        if seen.size > size:
            raise LedgerError(
                AHEAD,
                f"{name} has a signed checkpoint of {seen.size} leaves, here are {size}: the log"
                " was put back from a backup. Take the leaves from a member: kentong log restore",
            )
        if tree_root(seen.size, lookup_in(self.files.read, size)) != seen.root:
            raise LedgerError(FORK, f"{name} has a signed checkpoint of another {seen.size} leaves")
