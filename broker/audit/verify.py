"""Every check of a bundle, offline: tree, signatures, witnesses, older checkpoints, leaves.

All checks run, even after a failure. What this shows is that one history stands under the
checkpoint, and who said so; not that a gateway logged all that it decided.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker.audit.bundle import CHECKPOINT, Bundle
from broker.audit.counters import check_counters, tell
from broker.audit.findings import Exit, Findings
from broker.audit.tree import check_tiles, read_entries, read_leaf_hashes
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.merkle import Frontier, leaf_hash
from broker.log.policy import Policy, SignedCheckpoint
from keys.primitives.signing import VerifyKey


@dataclass
class Audited:
    """What was found about one bundle."""

    findings: Findings = field(default_factory=Findings)
    signed: SignedCheckpoint | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    first_s: int | None = None
    last_s: int | None = None
    forks: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest, if its log signed it."""
        return None if self.signed is None else self.signed.checkpoint


@dataclass(frozen=True)
class Auditor:
    """What an auditor brings along.

    Attributes:
        policy: Trusted keys and the quorum; the auditor's own.
        gateways: Keys under which leaves are signed; empty: leaves are not checked for them.
        max_age: Of the newest cosignature; None: any.
        tiles_only: The tiles and checkpoints of any C2SP log, its entries unread.
    """

    policy: Policy
    gateways: Sequence[VerifyKey] = ()
    max_age: timedelta | None = None
    tiles_only: bool = False

    def verify(self, bundle: Bundle, *, now: datetime, since: bytes = b"") -> Audited:
        """Run every check; nothing that the bundle holds raises anything.

        Args:
            bundle: Not trusted.
            now: The auditor's clock.
            since: A checkpoint that the auditor kept from before, which must lead to this one.
        """
        audited = Audited()
        note = bundle.read(CHECKPOINT)
        if note is None:
            audited.findings.failed("checkpoint", "there is none", Exit.UNREADABLE)
            return audited
        try:
            audited.signed = self.policy.verify_log(note, every_key=not self.tiles_only)
        except LogError as error:
            unreadable = error.code in {"bad-note", "bad-checkpoint", "bad-hash"}
            end = Exit.UNREADABLE if unreadable else Exit.BROKEN
            audited.findings.failed("checkpoint", f"{error} [{error.code}]", end)
            return audited
        self._checkpoint(audited, audited.signed, now)
        hashes, leaves = self._tree(audited, bundle, audited.signed.checkpoint)
        if hashes is not None:
            self._older(audited, bundle, note, hashes, since)
        if leaves is not None:
            self._leaves(audited, leaves)
        return audited

    def _checkpoint(self, audited: Audited, signed: SignedCheckpoint, now: datetime) -> None:
        findings, checkpoint = audited.findings, signed.checkpoint
        findings.passed(
            "checkpoint",
            f"{checkpoint.origin}, {checkpoint.size} leaves, {len(signed.log_signatures)} log"
            " signatures",
        )
        total = len(self.policy.witnesses)
        try:
            self.policy.require_quorum(signed)
        except LogError:
            said = f"{len(signed.cosigned)} of {total} witnesses: no quorum"
            findings.failed("witnesses", said, Exit.UNMET)
        else:
            findings.passed("witnesses", f"{len(signed.cosigned)} of {total} cosigned")
        if self.max_age is None:
            return
        newest = max(signed.cosigned.values(), default=0)
        age_s = int(now.timestamp()) - newest
        if newest and age_s <= self.max_age.total_seconds():
            findings.passed("age", f"cosigned {age_s} s ago")
        else:
            said = f"cosigned {age_s} s ago" if newest else "nobody says when"
            findings.failed("age", said, Exit.UNMET)

    def _tree(
        self, audited: Audited, bundle: Bundle, checkpoint: Checkpoint
    ) -> tuple[list[bytes] | None, list[bytes] | None]:
        """Return leaf hashes and entries, as far as they are there and sound."""
        findings, size = audited.findings, checkpoint.size
        entries: list[bytes] | None = None
        if self.tiles_only:
            findings.skipped("entries", "tiles only")
            hashes = read_leaf_hashes(findings, bundle, size)
        else:
            entries = read_entries(findings, bundle, size)
            hashes = None if entries is None else [leaf_hash(entry) for entry in entries]
        if hashes is None:
            return None, None
        root = Frontier().append(hashes).root()
        if root == checkpoint.root:
            findings.passed("root", f"computed from {size} leaves: {root.hex()}")
        else:
            findings.failed("root", f"computed {root.hex()}, signed {checkpoint.root.hex()}")
        check_tiles(findings, bundle, hashes)
        return hashes, entries

    def _older(
        self, audited: Audited, bundle: Bundle, newest: bytes, hashes: Sequence[bytes], since: bytes
    ) -> None:
        findings, good = audited.findings, 0
        grown = Frontier()
        notes = [(path, bundle.read(path) or b"") for path in bundle.older()]
        notes += [("the one kept", since)] if since else []
        read: list[tuple[Checkpoint, str, bytes]] = []
        for path, note in notes:
            try:
                signed = self.policy.verify_log(note, every_key=not self.tiles_only)
            except LogError as error:
                findings.failed("older checkpoint", f"{path}: {error} [{error.code}]")
            else:
                read.append((signed.checkpoint, path, note))
        for checkpoint, path, note in sorted(read, key=lambda item: item[0].size):
            if checkpoint.size > len(hashes):
                said = f"{path}: {checkpoint.size} leaves, the newest has {len(hashes)}"
                findings.failed("older checkpoint", said, Exit.FORK)
                audited.forks.append((path, newest, note))
                continue
            grown = grown.append(hashes[grown.size : checkpoint.size])
            if grown.root() == checkpoint.root:
                good += 1
                continue
            said = f"{path}: the log signed another tree of {checkpoint.size} leaves"
            findings.failed("FORK", said, Exit.FORK)
            audited.forks.append((path, newest, note))
        if notes:
            findings.passed("older checkpoints", f"{good} of {len(notes)} lead to the newest")
        else:
            findings.skipped("older checkpoints", "the bundle has none")

    def _leaves(self, audited: Audited, entries: Sequence[bytes]) -> None:
        findings = audited.findings
        leaves: list[Leaf] = []
        bad: list[int] = []
        for index, entry in enumerate(entries):
            try:
                leaves.append(parse_leaf(entry))
            except LogError:
                bad.append(index)
        tell(findings, "leaves", f"{len(leaves)} read", bad)
        if self.gateways:
            forged = [index for index, leaf in enumerate(leaves) if not self._is_signed(leaf)]
            tell(findings, "gateway signatures", f"{len(leaves) - len(forged)} verify", forged)
        else:
            findings.skipped("gateway signatures", "no keys of gateways were given")
        for leaf in leaves:
            audited.kinds[leaf.signed.statement.kind.name.lower()] += 1
        times = [leaf.signed.statement.time_s for leaf in leaves]
        if times:
            audited.first_s, audited.last_s = min(times), max(times)
        check_counters(findings, leaves)
        for kind in (LeafKind.STREAM, LeafKind.FAULT):
            if count := audited.kinds[kind.name.lower()]:
                findings.warned("events", f"{count} leaves say {kind.name.lower()}: ask the hub")

    def _is_signed(self, leaf: Leaf) -> bool:
        for key in self.gateways:
            try:
                leaf.signed.verify(key)
            except LogError:
                continue
            return True
        return False
