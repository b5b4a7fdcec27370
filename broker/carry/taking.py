"""A node without a link takes what a ferry brought: directory, log, receipts and copies, in order.

Every byte goes the way that it goes over a link, and is believed as little: the directory and the
log are proved, copies opened and judged, receipts verified. What this node has committed is noted
afterwards, so that the next file to the hub tells that the hub need not keep it. How often the hub
gave something out stands in the file and is signed by nobody: it decides nothing here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import BinaryIO, Final
from uuid import UUID

from sqlalchemy import func, select

from broker.carry.attached import SERVICES, answer_name, believed, take_done, take_files
from broker.carry.destroying import destroy_over
from broker.carry.done import Done
from broker.carry.form import CarryError, Header, Record, What, record_at, records_in
from broker.envelope.decision import decision_in
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node.errors import NodeError
from broker.node.node import Node
from broker.store import tables
from broker.store.errors import DAMAGED_CODE, StoreError
from broker.transport.services import cosigned_answer, piece_for, piece_of
from broker.transport.unlinked import Unlinked
from keys.errors import DirectoryError, KeysError
from keys.primitives.hashing import sha256
from schemas.errors import SchemaError
from schemas.moments import moment
from schemas.vocabulary import Lane

TOGETHER: Final = 32  # as a node takes them from a link: one commit, and little memory
_SECOND: Final = timedelta(seconds=1)
UNREADABLE: Final = frozenset({DAMAGED_CODE, "not-found"})  # the latter by a changed id
OLDER: Final = frozenset({"rollback", "directory-expired"})
_log = get_logger()
Progress = Callable[[int, int], None]
"""Takes how many are done, and how many there are."""


@dataclass
class Taken:
    """What came of one file.

    Attributes:
        alerts: New in the inbox.
        quarantined: Copies that were refused, and kept as evidence.
        answers: What other members' nodes say of our alerts, new here.
        again: Copies that were here before.
        receipts: That were believed, some perhaps once more.
        left: Copies and receipts that the hub keeps until a newer directory is here.
        damaged: Copies and receipts about what the disk changed here; the hub keeps them too.
        leaves: Of the log, new in the copy.
        chunks: Of attached files, new here.
        directory: Code of why the directory in it was not taken; empty if it was.
        log: Code of why its part of the log was not taken; empty if it was.
    """

    alerts: int = 0
    quarantined: int = 0
    answers: int = 0
    again: int = 0
    receipts: int = 0
    left: int = 0
    damaged: int = 0
    leaves: int = 0
    chunks: int = 0
    directory: str = ""
    log: str = ""


@dataclass
class Taking:
    """One file at one node."""

    node: Node
    link: Unlinked
    done: Done
    file: BinaryIO
    header: Header
    progress: Progress
    signed: bool = False  # whether a ferry that this node made wrote the file
    taken: Taken = field(default_factory=Taken)
    _answers: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[int]] = field(default_factory=dict)
    _size: int = 0
    _through: int = 0
    _left_copies: int = 0

    async def run(self) -> Taken:
        """Take it; whatever ends this, the same file may be taken again.

        Raises:
            CarryError: `carry-no-directory`: the node has none, and the one in the file is of no
                use.
            StoreError: The database did not keep it. What is damaged of one submission alone ends
                nothing: its mail is left out.
            KeysError: The copy of the directory cannot be kept.
        """
        self._look_through()
        self.link.answers = self._answer
        await self._directory()
        if not self.node.present.has_directory:
            raise CarryError("carry-no-directory", "the file brings no directory that counts")
        await self._log()
        await take_done(self.node)
        before = await self._kept()
        for kind in (What.RECEIPT, *Lane):
            places = self._waiting.get(kind, [])
            for start in range(0, len(places), TOGETHER):
                self.done.add(await self._batch(places[start : start + TOGETHER]))
                self.done.save()
        self.done.forget(self.header.answers)
        self.done.save()
        self._count(before, await self._kept())
        await self.node.upkeep.say_outage()
        self.taken.chunks = await take_files(self.node)
        await destroy_over(self.node)
        return self.taken

    def _look_through(self) -> None:
        for place, record in records_in(self.file):
            if record.what is What.ANSWER:
                self._answers[record.name] = place
            elif record.what is What.RECEIPT:
                self._waiting.setdefault(What.RECEIPT, []).append(place)
            elif record.what is What.COPY and record.name in set(Lane):
                self._waiting.setdefault(Lane(record.name), []).append(place)
            self._size += record.what is not What.ANSWER

    def _answer(self, subject: str, payload: bytes) -> bytes | None:
        _, _, service = subject.split(".", 2)
        if service == "witness.others":
            return cosigned_answer(())
        if service in SERVICES:
            place = self._answers.get(answer_name(service, payload))
            known = place is not None and believed(service, signed=self.signed)
            return record_at(self.file, place).payload if known and place is not None else None
        if not service.startswith(("dir.", "log.")):
            return None
        place = self._answers.get(service)
        if place is None:
            # TUF asks for the next root until there is none; a file of the log may be missing.
            return piece_of(None, 0)
        return piece_for(record_at(self.file, place).payload, payload)

    async def _directory(self) -> None:
        present = self.node.present
        # Expiry is judged as of the time when it was fetched. What is read under it was decided
        # before; sealing asks for one that is fresh by the clock of this moment.
        as_of = min(present.now() - _SECOND, moment(self.header.hub_ms)) + _SECOND
        try:
            await self.node.upkeep.refresh_directory(as_of=as_of)
        except DirectoryError as error:
            if error.code not in OLDER:
                _log.error("directory-not-taken", error_code=error.code)
            self.taken.directory = error.code

    async def _log(self) -> None:
        log, present = self.node.log, self.node.present
        if log is None or (known := present.view.hub.log) is None:
            return
        before, _ = await log.mirror.sizes(known.origin)
        try:
            await log.mirror.follow()
        except BrokerError as error:
            _log.warning("log-not-taken", error_code=error.code)
            self.taken.log = error.code
        self.taken.leaves = (await log.mirror.sizes(known.origin))[0] - before
        await self.node.gate.settle()
        await log.prove()

    async def _batch(self, places: Sequence[int]) -> list[bytes]:
        """Take these; return the hashes of those with which the hub is done."""
        noted = []
        for place in places:
            record = record_at(self.file, place)
            try:
                taken = await (
                    self._receipt(record) if record.what is What.RECEIPT else self._copy(record)
                )
            except (StoreError, NodeError) as error:
                self._skip(record, error)
            else:
                self.taken.left += not taken
                if taken:
                    noted.append(sha256(record.payload))
            self._through += 1
            self.progress(self._through, self._size)
        return noted

    def _skip(self, record: Record, error: BrokerError) -> None:
        """Leave out what speaks of a submission that the disk changed: all the rest is taken.

        Raises:
            BrokerError: That is not why it failed.
        """
        if error.code not in UNREADABLE:
            raise error
        _log.error("carried-not-kept", error_code=error.code)
        self.taken.damaged += 1
        self._left_copies += record.what is What.COPY

    async def _kept(self) -> tuple[int, int, int]:
        """Return how many alerts, copies in quarantine, and answers are here."""
        received = tables.received.c.outcome
        async with self.node.database.read() as connection:
            alerts = await connection.scalar(select(func.count()).select_from(tables.inbox))
            refused = await connection.scalar(select(func.count()).select_from(tables.quarantine))
            answers = await connection.scalar(select(func.count()).where(received == "control"))
        return int(alerts or 0), int(refused or 0), int(answers or 0)

    def _count(self, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
        taken = self.taken
        taken.alerts, taken.quarantined, taken.answers = (
            now - then for then, now in zip(before, after, strict=True)
        )
        copies = sum(len(places) for kind, places in self._waiting.items() if kind in set(Lane))
        new = taken.alerts + taken.quarantined + taken.answers
        taken.again = max(0, copies - new - self._left_copies)

    async def _receipt(self, record: Record) -> bool:
        try:
            await self.node.receipts.take(record.payload, about=_id_in(record.name))
        except (SchemaError, EnvelopeError, KeysError) as error:
            _log.error("receipt-not-believed", error_code=error.code)
            return False  # a newer directory may name its key; the hub keeps it as long as any
        self.taken.receipts += 1
        return True

    async def _copy(self, record: Record) -> bool:
        final = self._knows_as_much_as_the_gateway(record.payload)
        taken = await self.node.incoming.take(record.payload, final=final)
        self._left_copies += not taken
        return taken

    def _knows_as_much_as_the_gateway(self, copy: bytes) -> bool:
        """Return whether no newer directory can help a copy: ours is what it was decided under.

        Whoever carries the file can keep the directory's newer files back, and the copy is then
        none to be refused for good.
        """
        try:
            decided_under = decision_in(copy).header.dir
        except EnvelopeError:
            return True  # nobody ever signed this as a decision that a node can read
        return self.node.present.has_reached(decided_under)


def _id_in(subject: str) -> UUID | None:
    try:
        return UUID(subject.rpartition(".")[2])
    except ValueError:
        return None
