"""Tells a stream of decisions that was lost again which ids are decided, so that none is twice.

AUDIT is the only deduplication. The log keeps no records, and what it keeps of their subjects is
sealed; out of it each subject that lost its record is taken again, and then the stream is marked
ready. The same again goes on where it was killed, and changes nothing once it is done.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.ledger.state import LedgerState
from broker.ledger.subjects import SubjectSealer
from broker.log.announcement import stream_id
from broker.log.rebuilt import decided_before, ready
from broker.transport.errors import SequenceConflict
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX, ready_subject
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.signing import SignKey

TOGETHER: Final = 256


@dataclass(frozen=True)
class Rebuilder:
    """Puts back what the log knows.

    Attributes:
        link: On the hub's own account.
        key: The sequencer's.
    """

    link: Link
    state: LedgerState
    key: SignKey

    async def rebuild(self, name: str, created: str) -> int:
        """Take every subject of stream `name` again that has no record; return how many.

        Args:
            name: Of the stream, which exists.
            created: When it was made, as its server says.

        Raises:
            TransportError: The server did not answer: the stream is not marked; do it again.
            LedgerError: `subject-damaged`.
        """
        sealer = SubjectSealer.of(self.key)
        rows = await self.state.subjects(int(name.removeprefix(AUDIT_PREFIX)))
        known = sorted({subject for row in rows.values() for subject in sealer.open(row)})
        count = 0
        for start in range(0, len(known), TOGETHER):
            count += await self._take(known[start : start + TOGETHER])
        mark = ready(stream_id(name, created), self.key)
        await self.link.publish_acked(ready_subject(name), mark, msg_id=random_bytes(16).hex())
        return count

    async def _take(self, subjects: Sequence[str]) -> int:
        async def take(subject: str) -> bool:
            raw = decided_before(subject, self.key)
            try:
                await self.link.publish_acked(
                    subject, raw, msg_id=sha256(raw).hex(), expect_last_subject_seq=0
                )
            except SequenceConflict:
                return False  # its record was not lost, or was put back before
            return True

        return sum(await asyncio.gather(*map(take, subjects)))
