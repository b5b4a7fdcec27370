"""Takes a decision's record away from the hub, and says in the log that it did.

    1. a signed statement takes the record's place on its subject: the id stays decided
    2. the sequencer reads it, and the log has a leaf of kind ERASURE
    3. the old messages are deleted, and their bytes overwritten
    4. copies that nobody took yet, of envelope and receipt, go the same way

Killed between any two steps, the same again goes on. A record is erased only once its leaf is in
the log, so the sequencer never finds a gap where it stood.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from broker.errors import BrokerError
from broker.ledger.intake import Witnessed
from broker.ledger.state import LedgerState
from broker.ledger.subjects import SealedSubjects, SubjectSealer
from broker.log.audited import SealedRecord, parse_audited
from broker.log.checkpoint import parse_checkpoint
from broker.log.erasure import SALT_BYTES, encode_erasure, erasure_ref, is_erasure
from broker.log.errors import LogError
from broker.log.leaf import LeafKind
from broker.log.merkle import leaf_hash
from broker.log.note import parse_note
from broker.log.tiles import bundles_of
from broker.store.tilefiles import TileFiles
from broker.transport.errors import Refused, SequenceConflict
from broker.transport.link import Link
from broker.transport.message import SENDER_HEADER, Stored
from broker.transport.streamstates import erase_message, messages_on, stream_states
from keys.files import make_private_folder, write_private
from keys.primitives.hashing import random_bytes, sha256
from schemas.errors import SchemaError
from schemas.label import uuid7_time
from schemas.receipt import NoticeReceipt, parse_notice, parse_receipt

LOGGED_WITHIN_S: Final = 30.0
POLL_S: Final = 0.25
_AUDIT: Final = "AUDIT_"


@dataclass(frozen=True)
class Erased:
    """What an erasure did.

    Attributes:
        leaves: How many leaves of kind ERASURE it added.
        messages: How many messages it overwrote.
        remains: Streams that hold other messages still: bytes of what was taken out of them
            earlier may lie in their files until they are empty.
    """

    leaves: int
    messages: int
    remains: tuple[str, ...]


@dataclass(frozen=True)
class _Leaf:
    index: int
    hash: bytes = field(repr=False)


def _nowhere(_stream: str, _numbers: Sequence[int]) -> None:
    """Note nothing: no hub watches these streams."""


@dataclass(frozen=True)
class Eraser:
    """Erases records of one hub.

    Attributes:
        link: On the hub's own account, as one who may delete.
        kept: Folder for the openings of the erasures themselves.
        noting: Told which messages go out of which stream, before they do: the hub shall not take
            them for lost.
    """

    link: Link
    files: TileFiles
    state: LedgerState
    pen: Witnessed
    kept: Path
    logged_within_s: float = LOGGED_WITHIN_S
    noting: Callable[[str, Sequence[int]], None] = _nowhere

    async def erase(self, member: str, ident: UUID, *, now: datetime) -> Erased:
        """Erase what the hub holds of the envelope `ident` of `member`.

        Raises:
            BrokerError: `no-record`; `not-logged`: the log has not read it yet, and must run: the
                same again goes on; `record-changed`: somebody else wrote there, likewise.
            TransportError: The server refused, or did not answer.
            KeyFileError: The opening of the erasure cannot be kept: nothing happened.
        """
        year = _year_of(ident)
        stream, subject = f"{_AUDIT}{year}", f"audit.{year}.{member}.{ident}"
        standing = await self._standing(stream, subject)
        beside = await messages_on(self.link, stream, f"{subject}.>")
        gone = [found for found in (*standing, *beside) if not is_erasure(found.payload)]
        stated = await self._state(subject, standing, gone, now)
        numbers = [found.seq for found in (*standing, *beside)] + stated
        await self._logged(stream, max(numbers))
        await self._forget(year, frozenset(found.subject for found in gone) - {subject})
        self.noting(stream, [found.seq for found in gone])
        for found in gone:
            await erase_message(self.link, stream, found.seq)
        copies = await self._erase_copies(member, ident)
        return Erased(len(stated), len(gone) + copies, await self._not_empty())

    async def _forget(self, year: int, gone: frozenset[str]) -> None:
        """Take away what the log's database keeps of them; that the id is decided stays there."""
        sealer = SubjectSealer.of(self.pen.key)
        changes: dict[int, SealedSubjects | None] = {}
        for ident, row in (await self.state.subjects(year)).items() if gone else ():
            subjects = sealer.open(row)
            kept = [subject for subject in subjects if subject not in gone]
            if len(kept) != len(subjects):
                changes[ident] = sealer.seal(year, kept)
        if changes:
            await self.state.change_subjects(changes)

    async def _standing(self, stream: str, subject: str) -> list[Stored]:
        try:
            found = await messages_on(self.link, stream, subject)
        except Refused:
            found = []  # no such year's stream any more
        if not found:
            raise BrokerError("no-record", "no decision on such an id is on record")
        return found

    async def _state(
        self, subject: str, standing: Sequence[Stored], gone: Sequence[Stored], now: datetime
    ) -> list[int]:
        """Publish a statement for each record that has none yet, the decision's own last."""
        records = [(found, audited) for found in gone if (audited := _audited(found))]
        last = standing[-1]
        if is_erasure(last.payload):  # said before, and killed before it was deleted
            records = [(found, audited) for found, audited in records if found.subject != subject]
        leaves = await asyncio.to_thread(self._leaves, [audited for _, audited in records])
        order = sorted(range(len(records)), key=lambda place: records[place][0].subject == subject)
        return [
            await self._say(subject, last.seq, leaves[place], now=now)
            if records[place][0].subject == subject
            else await self._say(f"{subject}.erased", 0, leaves[place], now=now)
            for place in order
        ]

    async def _say(self, subject: str, after: int, leaf: _Leaf, *, now: datetime) -> int:
        salt = random_bytes(SALT_BYTES)
        signed = self.pen.state(LeafKind.ERASURE, now=now, ref=erasure_ref(salt, leaf.hash))
        raw = signed.to_bytes()
        name = sha256(raw).hex()
        make_private_folder(self.kept)
        write_private(self.kept / f"{name}.erasure", encode_erasure(salt, leaf.index))
        if not after:
            subject = f"{subject}.{name}"
        try:
            ack = await self.link.publish_acked(
                subject, raw, msg_id=name, expect_last_subject_seq=after
            )
        except SequenceConflict:
            raise BrokerError(
                "record-changed", "another process wrote to this record", retry="later"
            ) from None
        return ack.seq

    def _leaves(self, records: Sequence[SealedRecord]) -> list[_Leaf]:
        """Return the leaf of each record."""
        wanted = {audited.signed.to_bytes(): None for audited in records}
        found: dict[bytes, _Leaf] = {}
        for index, entry in self._entries() if wanted else ():
            signed = next((raw for raw in wanted if entry.startswith(raw)), None)
            if signed is not None:
                found[signed] = _Leaf(index, leaf_hash(entry))
            if len(found) == len(wanted):
                break
        if len(found) != len(wanted):
            raise _not_logged()
        return [found[audited.signed.to_bytes()] for audited in records]

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        note = self.files.checkpoint()
        size = 0 if note is None else parse_checkpoint(parse_note(note).text).size
        index = 0
        for tile in bundles_of(size):
            for entry in self.files.read(tile):
                yield index, entry
                index += 1

    async def _logged(self, stream: str, seq: int) -> None:
        """Return once the sequencer has read past message `seq`."""
        try:
            async with asyncio.timeout(self.logged_within_s):
                while True:
                    position = (await self.state.positions()).get(stream)
                    if position is not None and position.next_seq > seq:
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise _not_logged() from None

    async def _erase_copies(self, member: str, ident: UUID) -> int:
        """Overwrite what nobody took yet, of this member's envelope and what was told of it."""
        count = 0
        for name, state in (await stream_states(self.link)).items():
            patterns = _patterns(name, member, ident) if state.messages else ()
            for pattern in patterns:
                for found in await messages_on(self.link, name, pattern):
                    if _is_of(found, member):
                        self.noting(name, [found.seq])
                        await erase_message(self.link, name, found.seq)
                        count += 1
        return count

    async def _not_empty(self) -> tuple[str, ...]:
        states = await stream_states(self.link)
        return tuple(
            sorted(
                name
                for name, state in states.items()
                if state.messages and not name.startswith(_AUDIT)
            )
        )


def _year_of(ident: UUID) -> int:
    try:
        return uuid7_time(ident).year
    except ValueError:
        raise BrokerError("no-record", "no decision can stand on such an id") from None


def _audited(found: Stored) -> SealedRecord | None:
    try:
        return parse_audited(found.payload)
    except LogError:
        return None  # a notice or a control's place, which has no leaf


def _patterns(stream: str, member: str, ident: UUID) -> tuple[str, ...]:
    """Return the subjects of a stream under which this envelope may stand, or a word of it."""
    match stream.partition("_")[0]:
        case "SUBMIT":
            return (f"submit.{member}.*.{ident}",)
        case "INBOX":
            return (f"deliver.*.*.{ident}",)
        case "HELD":
            return (f"held.*.{member}.*.{ident}",)
        case "EXPIRED":
            return f"expired.*.*.{ident}", f"expired.*.{member}.*.{ident}"
        case "RECEIPT":
            return (f"receipt.*.{ident}",)
        case _:
            return ()


def _is_of(found: Stored, member: str) -> bool:
    """Return whether it is about an envelope of `member`: ids of two members may be the same."""
    kind, whose, *_ = found.subject.split(".")
    if kind in {"deliver", "expired", "held"}:
        return found.headers.get(SENDER_HEADER) == member
    if whose == member:
        return True
    try:
        told = parse_receipt(found.payload)
        return isinstance(told, NoticeReceipt) and parse_notice(told.notice).sender == member
    except SchemaError:
        return False


def _not_logged() -> BrokerError:
    return BrokerError(
        "not-logged", "the log has not read this yet: let it run, then try again", retry="later"
    )
