"""Finds out again what this node cosigned last, after it was put back from a backup.

A witness that forgot what it signed could sign a second tree. It signs nothing until so many of
the others showed, under times later than its restoration, what they cosigned, that any quorum it
was ever part of has one of them; and until all of that, and what it remembers, is one tree.
"""

from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.witness import Seen
from broker.logs import get_logger
from broker.node.logreading import LogReading

INCONSISTENT: Final = "consistency-failed"
_log = get_logger()


@dataclass(frozen=True)
class Recollection:
    """What is known of one log.

    Attributes:
        policy: As the directory has it now.
        own: Name of this witness in it.
        since_s: When this node was put back; older words of others may be a replay.
        seen: What it remembers, which may be nothing.
    """

    policy: Policy
    own: bytes
    since_s: int
    seen: Seen

    async def recall(
        self, reading: LogReading, notes: tuple[bytes, ...]
    ) -> SignedCheckpoint | Seen | None:
        """Return the largest checkpoint that others or this node cosigned; None: too few showed it.

        What is remembered is returned where nothing larger is shown.

        Args:
            reading: Where the tiles are that prove all of it one tree.
            notes: Of any witness, not trusted.

        Raises:
            LogError: `consistency-failed`: they are not one tree; or a tile is missing.
            BrokerError: The hub does not answer.
        """
        found = self._verified(notes)
        fresh = {
            name
            for signed in found
            for name, time_s in signed.cosigned.items()
            if name != self.own and time_s > self.since_s
        }
        if len(fresh) < self._needed():
            _log.warning("witness-recalls", count=len(fresh))
            return None
        known = {(s.checkpoint.size, s.checkpoint.root) for s in found}
        if self.seen.root is not None:
            known.add((self.seen.size, self.seen.root))
        if not known:
            return self.seen
        new_size, new_root = max(known)
        for size, root in known:
            await reading.check_grown(size, root, new_size, new_root)
        largest = (each for each in found if each.checkpoint.size == new_size)
        return self.seen if self.seen.size == new_size else next(largest)

    def own_time_s(self, notes: tuple[bytes, ...]) -> int:
        """Return the newest time under a cosignature of our own among `notes`; 0 if none is."""
        return max((s.cosigned.get(self.own, 0) for s in self._verified(notes)), default=0)

    def _needed(self) -> int:
        """Return how many others: any quorum with us in it has one of them."""
        total = len(self.policy.witnesses)
        quorum = min((group.threshold for group in self.policy.groups), default=0)
        return min(total - quorum + 1, total - 1)

    def _verified(self, notes: tuple[bytes, ...]) -> list[SignedCheckpoint]:
        found: list[SignedCheckpoint] = []
        for note in notes:
            try:
                found.append(self.policy.verify_log(note))
            except LogError as error:
                _log.warning("note-refused", error_code=error.code)
        return found
