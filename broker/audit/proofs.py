"""The single proofs that lie in a bundle: each holds, and under a checkpoint of the one history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from broker.audit.bundle import PROOFS, Bundle
from broker.audit.findings import Exit, Findings, Places
from broker.audit.history import History
from broker.log.errors import LogError
from broker.log.merkle import leaf_hash
from broker.log.policy import Policy
from broker.log.proof import InclusionProof, parse_proof

PROOF_ENDS: Final = ".tlog-proof"
LEAF_ENDS: Final = ".leaf"


@dataclass
class Proofs:
    """The proofs of a bundle, which are held.

    Attributes:
        hash_at: Leaf hash at an index of the bundle; None if it is not there.
    """

    bundle: Bundle
    policy: Policy
    every_key: bool
    hash_at: Callable[[int], bytes | None]
    _read: dict[str, InclusionProof] = field(default_factory=dict)
    _bad: Places = field(default_factory=Places)
    _unread: Places = field(default_factory=Places)

    def read(self, history: History, strays: Places) -> None:
        """Read them, and give their checkpoints to the history.

        Args:
            history: Of the bundle.
            strays: Told of files that are no proofs, by their names.
        """
        for name in self.bundle.names(PROOFS):
            if name.startswith(".") or not name.endswith((PROOF_ENDS, LEAF_ENDS)):
                strays.add(f"{PROOFS}/{name}")
            if name.startswith(".") or not name.endswith(PROOF_ENDS):
                continue
            raw = self.bundle.read(f"{PROOFS}/{name}")
            if raw is None:
                self._unread.add(name)
                continue
            try:
                proof = parse_proof(raw)
                self._read[name] = replace(proof, extra=None)  # of any size, and never trusted
            except LogError as error:
                self._bad.add(f"{name} [{error.code}]")
            else:
                history.read(f"{PROOFS}/{name}", proof.note)

    def check(self, findings: Findings, history: History, roots: Mapping[int, bytes]) -> None:
        """Verify each, and say how it ended."""
        good, unmet, unseen = 0, Places(), Places()
        for name, proof in self._read.items():
            try:
                known = self._verified(name, proof, history, roots)
            except LogError as error:
                (unmet if error.code == "quorum-unmet" else self._bad).add(f"{name} [{error.code}]")
            else:
                good += known
                if not known:
                    unseen.add(name)
        failed = {
            "do not verify": (self._bad, Exit.BROKEN),
            "cannot be read": (self._unread, Exit.UNREADABLE),
            "without a quorum": (unmet, Exit.UNMET),
        }
        for said, (places, end) in failed.items():
            if places.count:
                findings.failed("proofs", f"{places.count} {said}: {places.shown}", end)
        if unseen.count:
            said = f"{unseen.count} of leaves or sizes that are not there: {unseen.shown}"
            findings.skipped("proofs", said, Exit.UNMET)
        if good:
            findings.passed("proofs", f"{good} verify")
        elif not unseen.count and not any(places.count for places, _ in failed.values()):
            findings.skipped("proofs", "the bundle has none")

    def _verified(
        self, name: str, proof: InclusionProof, history: History, roots: Mapping[int, bytes]
    ) -> bool:
        """Return whether all that the proof needs is there; what it needs holds."""
        leaf = self._leaf(name, proof.index)
        if leaf is None:
            return False
        signed = proof.included(leaf, self.policy, every_key=self.every_key)
        checkpoint = signed.checkpoint
        newest = history.newest
        known = newest.root if checkpoint.size == newest.size else roots.get(checkpoint.size)
        if checkpoint.origin != newest.origin or known not in {None, checkpoint.root}:
            raise LogError("other-history", "the proof is of another history than the bundle")
        self.policy.require_quorum(signed)
        return known is not None

    def _leaf(self, name: str, index: int) -> bytes | None:
        entry = self.bundle.read(f"{PROOFS}/{name.removesuffix(PROOF_ENDS)}{LEAF_ENDS}")
        return self.hash_at(index) if entry is None else leaf_hash(entry)
