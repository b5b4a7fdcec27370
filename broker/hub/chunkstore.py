"""Sealed chunks of attached files at the hub: for whom, how many, until when.

    attachments/<sender>/<envelope>/head     what was promised, who may fetch, who has all
    attachments/<sender>/<envelope>/0-00000  chunk 0 of file 0, as it was handed in

The hub can open none of them. A chunk never changes. Once every accepted recipient has all, the
chunks go and the head stays until the alert's time is over, so that a sender that missed an answer
does not begin anew.

Each recipient that has not fetched takes room of the sender's, and one that fetches nothing takes
no other's share of it. A file may then go without a recipient that has no room left.

A head that the disk changed takes no chunk with it: the sender has deleted its file, and recipients
still wait. What the standing decision says is put in its place, and what lies there is counted.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

from broker.admission.room import Room
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.hub.chunkheads import HEAD_VERSION, Head, parse_head
from broker.logs import get_logger
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import StoreError
from broker.transport.attaching import refused
from schemas.errors import SchemaError

DAMAGED = "chunks-damaged"
MOST_ENVELOPES = 65_536  # of one sender: some seven hundred a day for ninety days
_log = get_logger()


@dataclass
class ChunkStore:
    """The hub's chunks. Heads are in memory and on the disk; `load` reads them first.

    Attributes:
        quota_bytes: Of each sender, for all that it promised and not everybody has taken yet.
        most_envelopes: Of each sender, whose time is not over: what all have taken takes no room
            of the quota, and a little memory and an inode still.
    """

    files: ChunkFiles
    quota_bytes: int
    most_envelopes: int = MOST_ENVELOPES
    _heads: dict[str, Head] = field(default_factory=dict)  # Changed by `_know` alone,
    _reserved: Counter[str] = field(default_factory=Counter)  # which keeps their sums beside them,
    _awaiting: Counter[tuple[str, str]] = field(default_factory=Counter)  # for each recipient too,
    _envelopes: Counter[str] = field(default_factory=Counter)  # how many each sender has,
    _seen: dict[str, list[int]] = field(default_factory=dict)  # and how far `open` has looked,
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)  # while this is held.
    _damaged: set[str] = field(default_factory=set)  # Shelves whose head the disk changed.

    async def load(self) -> None:
        """Read what is there, and remove what a killed process left half done.

        Raises:
            StoreError: The disk does not give it.
        """
        found = await asyncio.to_thread(lambda: list(self._read()))
        async with self._changing:
            self._heads.clear()
            self._reserved.clear()
            self._awaiting.clear()
            self._envelopes.clear()
            self._seen.clear()
            self._damaged = {shelf for shelf, head in found if head is None}
            for shelf, head in found:
                self._know(shelf, head)

    def _read(self) -> Iterator[tuple[str, Head | None]]:
        for sender in self.files.shelves():
            for shelf in self.files.shelves(sender):
                raw = self.files.head(shelf)
                if raw is None:  # never told anybody that it was open
                    self.files.remove(shelf)
                    continue
                try:
                    head = parse_head(raw)
                except SchemaError:
                    _log.error(DAMAGED, id=shelf.rpartition("/")[2], alarm=DAMAGED)
                    yield shelf, None
                    continue
                if head.over:
                    self.files.empty(shelf)
                yield shelf, head
            self.files.tidy(sender)

    def head(self, sender: str, ident: UUID, *, now: datetime) -> Head | None:
        """Return what is known of an envelope, if its time is not over."""
        head = self._heads.get(shelf_of(sender, ident))
        return None if head is None or head.expires <= now else head

    def open_ids(self) -> list[tuple[str, UUID]]:
        """Return sender and id of every envelope whose chunks are here or awaited."""
        wanted = [shelf for shelf, head in self._heads.items() if not head.over]
        places = (shelf.split("/", 1) for shelf in (*wanted, *self._damaged))
        return [(sender, UUID(ident)) for sender, ident in places]

    def is_damaged(self, sender: str, ident: UUID) -> bool:
        """Return whether chunks lie here of which nothing is known: the disk changed their head."""
        return shelf_of(sender, ident) in self._damaged

    async def mend(self, sender: str, ident: UUID, head: Head) -> None:
        """Put down, for chunks whose head the disk changed, what the standing decision says.

        How many there are the sender's next `open` says; until then it is what lies here.

        Args:
            sender: Whose.
            ident: Of which envelope.
            head: For whom and until when.

        Raises:
            StoreError: The disk does not take it.
        """
        shelf = shelf_of(sender, ident)
        async with self._changing:
            if shelf not in self._damaged:
                return
            counts = await asyncio.to_thread(self.files.counts, shelf)
            await self._put_down(shelf, replace(head, counts=counts, promised=False))
            _log.warning("chunks-mended", sender=sender, id=str(ident))

    async def open(
        self, sender: str, ident: UUID, head: Head, others: Sequence[str], *, patient: bool
    ) -> tuple[int, ...]:
        """Reserve room for an envelope's chunks; return each file's first missing one.

        Args:
            sender: Whose.
            ident: Of which envelope.
            head: For all to whom the decision let a copy through.
            others: The other members, among whom the sender's room is divided.
            patient: Whether the files wait until there is room for every recipient; else they go
                without those who have none.

        Raises:
            BrokerError: `counts-differ` or `attachment-quota`.
            StoreError: The disk does not take it.
        """
        shelf = shelf_of(sender, ident)
        async with self._changing:
            known = self._heads.get(shelf)
            if known is None or not known.promised:
                taken_on = self._taken_on(sender, shelf, head, others, patient=patient)
                known = await self._put_down(shelf, taken_on)
        if known.counts != head.counts:
            raise refused("counts-differ")
        if known.over:
            return known.counts
        seen = self._seen[shelf]
        found = await asyncio.to_thread(
            self.files.first_missing_of_each, shelf, known.counts, tuple(seen)
        )
        seen[:] = found  # nobody's any more if the head was changed meanwhile
        return found

    def _taken_on(
        self, sender: str, shelf: str, head: Head, others: Sequence[str], *, patient: bool
    ) -> Head:
        """Return a head for those for whom there is room, while `_changing` is held.

        Where one was made anew, it gives up the room for what lies there, and who has all needs
        none.

        Raises:
            BrokerError: As for `open`.
        """
        lying = self._heads.get(shelf)
        if lying is None and self._envelopes[sender] >= self.most_envelopes:
            raise refused("attachment-quota")
        counts, done = ((), ()) if lying is None else (lying.counts, lying.done)
        if any(here > told for here, told in zip_longest(counts, head.counts, fillvalue=0)):
            raise refused("counts-differ")
        wanted = replace(head, done=done)
        fits = self._that_have_room(sender, wanted, lying, others)
        if wanted.waiting and (not fits or (patient and fits != wanted.waiting)):
            raise refused("attachment-quota")
        stay = tuple(each for each in head.recipients if each in done or each in fits)
        return replace(wanted, recipients=stay)

    def _that_have_room(
        self, sender: str, head: Head, lying: Head | None, others: Sequence[str]
    ) -> tuple[str, ...]:
        """Return who waits and finds room in place of `lying`, while `_changing` is held."""
        more = head.reserved_bytes
        less, whose = (0, ()) if lying is None else (lying.reserved_bytes, lying.waiting)
        if self.reserved(sender) - less + more > self.quota_bytes:
            return ()
        members = frozenset({*others, *head.waiting})
        taken = {
            member: self._awaiting[sender, member] - (less if member in whose else 0)
            for member in members
        }
        room = Room(self.quota_bytes, members, taken)
        return tuple(each for each in head.waiting if not room.exceeds(each, more))

    async def keep(self, sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
        """Keep a chunk durably.

        Raises:
            BrokerError: `not-open`, `no-such-chunk` or `chunk-differs`.
            StoreError: The disk does not take it.
        """
        shelf = shelf_of(sender, ident)
        head = self._heads.get(shelf)
        if head is None or not head.promised:  # its sender says anew how many there are
            raise refused("not-open")
        if (
            number >= len(head.counts)
            or index >= head.counts[number]
            or len(raw) != SEALED_CHUNK_BYTES
        ):
            raise refused("no-such-chunk")
        if head.over:
            return
        if not await asyncio.to_thread(self.files.keep, shelf, number, index, raw):
            raise refused("chunk-differs")
        await self._check_wanted(shelf)

    async def chunk(self, sender: str, ident: UUID, number: int, index: int) -> bytes | None:
        """Return a chunk, or None if it is not here.

        Raises:
            StoreError: The disk does not give it.
        """
        shelf = shelf_of(sender, ident)
        raw = await asyncio.to_thread(self.files.read, shelf, number, index)
        seen = self._seen.get(shelf, [])
        if raw is None and number < len(seen) and index < seen[number]:
            seen.clear()  # the disk lost it: its sender may still have it
        return raw

    async def done(self, sender: str, ident: UUID, recipient: str) -> bool:
        """Note that a recipient has all; return whether it was the last, which takes them away.

        Raises:
            StoreError: The disk does not take it; say it again.
        """
        shelf = shelf_of(sender, ident)
        async with self._changing:
            before = self._heads.get(shelf)
            if before is None or recipient in before.done:
                return False
            done = (*before.done, recipient)
            head = await self._put_down(shelf, replace(before, done=done, form=HEAD_VERSION))
            if head.over:
                try:
                    await asyncio.to_thread(self.files.empty, shelf)
                except StoreError:
                    self._know(shelf, before)  # what is left still takes room
                    raise
            return head.over

    async def remove(self, sender: str, ident: UUID) -> None:
        """Remove everything of an envelope.

        Raises:
            StoreError: The disk does not do it; call again.
        """
        shelf = shelf_of(sender, ident)
        async with self._changing:
            before = self._heads.get(shelf)
            self._know(shelf, None)  # first: a chunk that lands from now on is removed again
            try:
                await asyncio.to_thread(self.files.remove, shelf)
            except StoreError:
                self._know(shelf, before)
                raise
            self._damaged.discard(shelf)

    async def expire(self, now: datetime) -> int:
        """Remove everything whose time is over; return of how many envelopes.

        Raises:
            StoreError: The disk does not do it for some, once all are tried; call again.
        """
        gone = [shelf for shelf, head in self._heads.items() if head.expires <= now]
        failed: StoreError | None = None
        for shelf in gone:
            sender, ident = shelf.split("/", 1)
            try:
                await self.remove(sender, UUID(ident))
            except StoreError as error:
                failed = failed or error
            else:
                _log.info("chunks-expired", sender=sender, id=ident)
        if failed is not None:
            raise failed
        return len(gone)

    def most(self, others: Sequence[str]) -> int:
        """Return how many bytes one recipient may have waiting here, of one sender.

        Args:
            others: The members besides the sender.
        """
        return Room(self.quota_bytes, frozenset(others), {}).most if others else 0

    def reserved(self, sender: str) -> int:
        """Return how many bytes are promised to a sender."""
        return self._reserved[sender]

    async def _check_wanted(self, shelf: str) -> None:
        """Return if a chunk that was just kept is still to be kept; else remove it again.

        While it was written, its envelope may have been erased or expired, or the last recipient
        may have taken all. Else it would lie outside every quota until the next start.

        Raises:
            BrokerError: `not-open`.
            StoreError: The disk does not do it.
        """
        head = self._heads.get(shelf)
        if head is not None and not head.over:
            return
        async with self._changing:
            head = self._heads.get(shelf)
            if head is None:
                await asyncio.to_thread(self.files.remove, shelf)
                raise refused("not-open")
            if head.over:
                await asyncio.to_thread(self.files.empty, shelf)

    async def _put_down(self, shelf: str, head: Head) -> Head:
        """Write a head and remember it, while `_changing` is held."""
        await asyncio.to_thread(self.files.write_head, shelf, head.to_bytes())
        self._know(shelf, head)
        self._damaged.discard(shelf)
        return head

    def _know(self, shelf: str, head: Head | None) -> None:
        """Remember, or forget, what is known of an envelope."""
        before = self._heads.pop(shelf, None)
        self._seen.pop(shelf, None)
        if before is not None:
            self._count(shelf, before, -1)
        if head is not None:
            self._heads[shelf] = head
            self._seen[shelf] = []
            self._count(shelf, head, 1)

    def _count(self, shelf: str, head: Head, sign: int) -> None:
        sender, size = shelf.split("/", 1)[0], sign * head.reserved_bytes
        self._reserved[sender] += size
        self._envelopes[sender] += sign
        for recipient in head.waiting:
            self._awaiting[sender, recipient] += size


def shelf_of(sender: str, ident: UUID) -> str:
    """Return where an envelope's chunks lie. A sender is a member's code, never a path."""
    return f"{sender}/{ident}"
