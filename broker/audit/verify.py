"""Every check of a bundle, offline: tree, signatures, witnesses, older checkpoints, leaves.

All checks run, even after a failure. What this shows is that one history stands under the
checkpoint, and who said so; not that a gateway logged all that it decided.

Of a log of any size are held: a few bundles of entries, what `tree` and `counters` name, the older
checkpoints, the proofs, and of a tar the list of its members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.audit.bundle import CHECKPOINT, Bundle, Noting, anybodys
from broker.audit.counters import Counters
from broker.audit.findings import UNREADABLE, Exit, Findings, Places
from broker.audit.forks import Fork, with_tiles
from broker.audit.history import History
from broker.audit.leafread import LeafKey, LeavesRead
from broker.audit.openings import Entries, Openings
from broker.audit.pool import SMALL, read_in_order
from broker.audit.proofs import Proofs
from broker.audit.tally import Tally
from broker.audit.tree import Tree
from broker.audit.walk import Walk, read_tile
from broker.audit.witnessing import check_age, check_order, check_witnesses, quorum_time
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.leaf import LeafKind
from broker.log.merkle import leaf_hash
from broker.log.note import parse_note
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import HASH_BYTES, TILE_WIDTH, Tile

_REST: Final = ("witnesses", "age", "entries", "root", "tiles", "older checkpoints", "leaves",
                "gateway signatures", "counters", "times", "openings", "proofs", "erasures",
                "cosignature times")  # fmt: skip
_LEAVES: Final = _REST[6:11]
_TILES_ONLY: Final = "tiles only"
_ERASURE: Final = int(LeafKind.ERASURE)


@dataclass
class Audited:
    """What was found about one bundle.

    Attributes:
        checkpoint: The newest, as the bundle says; believe it only if the findings pass.
        signed: The same, if its log signed it.
    """

    findings: Findings = field(default_factory=Findings)
    checkpoint: Checkpoint | None = None
    signed: SignedCheckpoint | None = None
    tally: Tally = field(default_factory=Tally)
    forks: list[Fork] = field(default_factory=list)


@dataclass
class _Leaves:
    """What was found of the leaves."""

    counters: Counters = field(default_factory=Counters)
    bad: Places = field(default_factory=Places)
    forged: Places = field(default_factory=Places)
    refs: Places = field(default_factory=Places)
    voided: Places = field(default_factory=Places)
    erasures: int = 0
    count: int = 0

    def take(self, read: LeavesRead, tally: Tally) -> None:
        refs = set(read.refs)
        for index, kind, time_s, gateway, boot, seq in read.said:
            tally.leaf(kind, time_s)
            self.counters.take(index, gateway=gateway, boot=boot, seq=seq, time_s=time_s)
            self.erasures += kind == _ERASURE
            if (index in refs) != (kind == _ERASURE):
                self.refs.add(index)
        self.count += len(read.said)
        for index in read.bad:
            self.bad.add(index)
        for index in read.forged:
            self.forged.add(index)
        for index in read.voided:
            self.voided.add(index)


@dataclass(frozen=True)
class Auditor:
    """What an auditor brings along.

    Attributes:
        policy: Trusted keys and the quorum; the auditor's own.
        policy_hash: SHA-256 of the policy's file, to be told.
        gateways: Keys under which leaves are signed, the log's own among them; without any no log
            that has leaves passes.
        max_age: Since when a quorum must have cosigned; None: any time.
        tiles_only: The tiles and checkpoints of any C2SP log, its entries unread.
        processes: How many may check signatures at once.
        progress: Told how many leaves are done, of how many.
    """

    policy: Policy
    policy_hash: bytes
    gateways: Sequence[LeafKey] = ()
    max_age: timedelta | None = None
    tiles_only: bool = False
    processes: int = 1
    progress: Callable[[int, int], None] = lambda _, __: None

    def verify(self, bundle: Bundle, *, now: datetime, since: bytes = b"") -> Audited:
        """Run every check; nothing that the bundle holds raises anything.

        Args:
            bundle: Not trusted.
            now: The auditor's clock.
            since: A checkpoint that the auditor kept from before, which must lead to this one.

        Raises:
            BrokerError: `worker-died`.
        """
        audited = Audited()
        audited.findings.passed("policy", f"SHA-256 {self.policy_hash.hex()}")
        noting = Noting(bundle)
        self._all(audited, anybodys(noting) if self.tiles_only else noting, now, since)
        if noting.unread:
            unread = Places()
            for path in noting.unread:
                unread.add(path)
            said = f"{unread.count} cannot be read: {unread.shown}"
            audited.findings.failed("files", said, Exit.UNREADABLE)
        return audited

    def _all(self, audited: Audited, files: Bundle, now: datetime, since: bytes) -> None:
        self._checkpoint(audited, files)
        if audited.checkpoint is None:
            for check in _REST:
                audited.findings.skipped(check, "there is no checkpoint to hold it against")
            return
        if audited.signed is None:
            for check in _REST[:2]:
                audited.findings.skipped(check, "the log did not sign the checkpoint")
        else:
            check_witnesses(audited.findings, self.policy, audited.signed)
            check_age(audited.findings, self.policy, audited.signed, now=now, max_age=self.max_age)
        self._below(audited, audited.checkpoint, files, since)

    def _checkpoint(self, audited: Audited, bundle: Bundle) -> None:
        note = bundle.read(CHECKPOINT)
        if note is None:
            audited.findings.failed("checkpoint", "there is none", Exit.UNREADABLE)
            return
        try:
            audited.checkpoint = parse_checkpoint(parse_note(note).text)
            audited.signed = self.policy.verify_log(note, every_key=not self.tiles_only)
        except LogError as error:
            end = Exit.UNREADABLE if error.code in UNREADABLE else Exit.BROKEN
            audited.findings.failed("checkpoint", f"{error} [{error.code}]", end)
        else:
            said = f"{audited.checkpoint.origin}, {audited.checkpoint.size} leaves"
            said = f"{said}, {len(audited.signed.log_signatures)} signatures of the log"
            try:
                if not self.tiles_only:
                    audited.signed.require_both()
            except LogError as error:
                audited.findings.failed("checkpoint", f"{said}: {error} [{error.code}]", Exit.UNMET)
            else:
                audited.findings.passed("checkpoint", said)

    def _below(
        self, audited: Audited, checkpoint: Checkpoint, bundle: Bundle, since: bytes
    ) -> None:
        """Check all that the checkpoint stands for."""
        findings, size = audited.findings, checkpoint.size
        every_key = not self.tiles_only
        history = History(self.policy, checkpoint, audited.signed, every_key)
        strays = Places()
        history.read_older(bundle, since, strays)
        entries = Entries(bundle, size)
        proofs = Proofs(bundle, self.policy, every_key, self._hashes(entries))
        proofs.read(history, strays)
        walk = Walk(bundle, size, self.tiles_only)
        tree, leaves = Tree(walk, history.sizes()), _Leaves()
        self._walk(walk, tree, leaves, audited.tally)
        rooted = tree.finish(findings, checkpoint.root, kept=history.kept)
        proven = rooted and audited.signed is not None
        history.compare(findings, tree.roots, proven=proven)
        audited.forks = with_tiles(history.forks, bundle)
        if self.tiles_only:
            for check in _LEAVES:
                findings.skipped(check, _TILES_ONLY)
            proofs.check(findings, history, tree.roots)
            findings.skipped("erasures", _TILES_ONLY)
        else:
            self._leaves(audited, walk, leaves)
            openings = Openings(entries, audited.tally.decision)
            openings.check(findings, strays)
            proofs.check(findings, history, tree.roots)
            openings.check_erasures(findings, erasures=leaves.erasures, refs=leaves.refs)
        check_order(findings, history.all_signed())
        if strays.count:
            said = f"{strays.count} are none of a log's and were not read: {strays.shown}"
            findings.warned("files", said)

    def _walk(self, walk: Walk, tree: Tree, leaves: _Leaves, tally: Tally) -> None:
        processes = self.processes if walk.size >= SMALL and not self.tiles_only else 1
        for step, read in read_in_order(walk.steps(), tuple(self.gateways), processes=processes):
            tree.take(step, read)
            if read is not None:
                leaves.take(read, tally)
            self.progress(step.first + step.width, walk.size)

    def _leaves(self, audited: Audited, walk: Walk, leaves: _Leaves) -> None:
        findings, signed = audited.findings, audited.signed
        findings.told("leaves", f"{leaves.count} read", leaves.bad)
        if self.gateways:
            good = f"{leaves.count - leaves.forged.count} verify"
            findings.told("gateway signatures", good, leaves.forged)
        elif leaves.count:  # who signed the leaves is a part of the whole, and nobody looked
            said = f"0 of {leaves.count} checked: no keys of gateways were given"
            findings.skipped("gateway signatures", said, Exit.UNMET)
        else:
            findings.passed("gateway signatures", "there are no leaves")
        cosigned = None if signed is None else quorum_time(self.policy, signed.cosigned)
        leaves.counters.finish(findings, cosigned_s=cosigned or 0, whole=walk.read == walk.size)
        for kind in (LeafKind.STREAM, LeafKind.FAULT):
            name = kind.name.lower()
            if count := audited.tally.kinds.get(name):
                findings.warned("events", f"{count} leaves say {name}: ask the hub")
        if voided := leaves.voided.count:  # where a gateway says nothing, the log may hide it
            said = f"{voided} numbers were voided by the log, not by their gateway: ask the hub"
            findings.warned("events", f"{said}; at {leaves.voided.shown}")

    def _hashes(self, entries: Entries) -> Callable[[int], bytes | None]:
        def hash_at(index: int) -> bytes | None:
            number, offset = divmod(index, TILE_WIDTH)
            if index >= entries.size:
                return None
            if not self.tiles_only:
                entry = entries.at(index)
                return None if entry is None else leaf_hash(entry)
            width = min(TILE_WIDTH, entries.size - number * TILE_WIDTH)
            raw = read_tile(entries.bundle, Tile(0, number, width)) or b""
            return raw[offset * HASH_BYTES : (offset + 1) * HASH_BYTES] or None

        return hash_at
