"""By when a decision was in the log for certain, as a quorum of its witnesses said at the time.

A cosignature states when its witness saw the tree. A leaf under enough of them existed then,
whatever the hub, a gateway or the thief of a key says later: to date a leaf back, a quorum of
members would have to lie. The decision's own time is the gateway's word alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from broker.log.commitments import check_opening
from broker.log.cosignature import instant_after
from broker.log.errors import LogError
from broker.log.leaf import parse_leaf
from broker.log.merkle import inclusion_proof, leaf_hash, verify_inclusion
from broker.log.policy import Policy
from broker.log.regional import regional_policy
from broker.log.tiles import lookup_in
from broker.node.logstate import Copied
from broker.node.proofs import leaf_at
from broker.store.tilefiles import TileFiles
from keys.directory.proving import proved
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from schemas.decision import Decision

NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class TimeProof:
    """What the copy of the log proves about one decision.

    Attributes:
        view: The directory, for the witnesses of that time and the gateways' keys.
        decision: As received.
    """

    view: DirectoryView
    files: TileFiles = field(repr=False)
    copied: Copied
    decision: Decision = field(repr=False)

    def proved_by(self, number: int, notes: Sequence[bytes]) -> datetime | None:
        """Return by when leaf `number`, which speaks of the decision, stood in a cosigned tree.

        Args:
            number: Of a leaf in the copy.
            notes: Checkpoints that may cover it, not trusted. The earliest that is proved counts.

        Returns:
            None if no note proves it, or the leaf is another's.

        Raises:
            StoreError: The copy is damaged.
        """
        times = [by for note in notes if (by := self._under(number, note)) is not None]
        return min(times, default=None)

    def copied_by(self, now: datetime) -> datetime | None:
        """Return when the newest note of the copy was cosigned: no leaf beyond it is older.

        Returns:
            None if that cannot be known yet; the end of time in a region without witnesses, where
            nobody ever says when.
        """
        try:
            policy = regional_policy(self.view, at=now)
            if policy.quorum is None:
                return NEVER
            return _instant(policy.quorum_by(policy.check(self.copied.note).cosigned))
        except LogError:
            return None

    def _under(self, number: int, note: bytes) -> datetime | None:
        try:
            policy = self._policy()
            signed = policy.check(note)
            by = _instant(policy.quorum_by(signed.cosigned))
            if by is not None:
                tree = signed.checkpoint
                self._check(number, tree.size, tree.root, by)
        except (LogError, KeysError):  # no proof, whatever else it is
            return None
        return by

    def _policy(self) -> Policy:
        """Return whom the region had watch its log when it was decided."""
        return regional_policy(self.view, at=self.decision.header.decided_at)

    def _check(self, number: int, size: int, root: bytes, by: datetime) -> None:
        """Return if the leaf stands in a tree of `size` leaves and is the decision's.

        Raises:
            LogError: It does not, or it is another's.
            KeysError: Its gateway's key did not hold, or it is not signed with it.
        """
        if size > self.copied.size:
            raise LogError("not-copied", "the tree is larger than the copy", retry="later")
        entry = leaf_at(self.files, number, self.copied)
        signed = parse_leaf(entry).signed
        key = proved(self.view, by=by).gateway_key(
            self.decision.kid, at=self.decision.header.decided_at
        )
        signed.verify(key)
        check_opening(signed.statement, self.decision)
        hashes = inclusion_proof(number, size, lookup_in(self.files.read, self.copied.size))
        verify_inclusion(leaf_hash(entry), index=number, size=size, proof=hashes, root=root)


def _instant(time_s: int | None) -> datetime | None:
    return None if time_s is None else instant_after(time_s)
