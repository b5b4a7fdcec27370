"""All checkpoints that one log signed, held against the one tree: the older ones must be its past.

Two signed checkpoints that no one tree can have are a fork, whoever shows them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.audit.bundle import OLDER, Bundle, is_number
from broker.audit.findings import UNREADABLE, Exit, Findings, Places
from broker.audit.forks import Fork
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.policy import Policy, SignedCheckpoint

KEPT: Final = "the one that you kept"
MAX_OLDER: Final = 100_000
_CHECK: Final = "older checkpoints"


@dataclass
class History:
    """The checkpoints, as far as the log signed them. Their notes are held.

    Attributes:
        newest: The claim that all is held against.
        own: The same, if the log signed it; if not, that is told elsewhere.
        signed: By the path in the bundle.
    """

    policy: Policy
    newest: Checkpoint
    own: SignedCheckpoint | None
    every_key: bool
    signed: dict[str, SignedCheckpoint] = field(default_factory=dict)
    forks: list[Fork] = field(default_factory=list)
    _refused: list[tuple[str, Exit]] = field(default_factory=list)
    _left_out: int = 0

    def read_older(self, bundle: Bundle, kept: bytes, strays: Places) -> None:
        """Read the bundle's older checkpoints, and the one that the auditor kept, if any.

        Args:
            bundle: Not trusted.
            kept: The auditor's; empty if there is none.
            strays: Told of files that are neither named as checkpoints are, nor signed as these.
        """
        names = bundle.names(OLDER)
        self._left_out = max(0, len(names) - MAX_OLDER)
        for name in names[:MAX_OLDER]:
            path = f"{OLDER}/{name}"
            raw = bundle.read(path)
            if not is_number(name):
                self._read_stray(path, raw or b"", strays)
            elif raw is None:
                self._refused.append((f"{path} cannot be read", Exit.UNREADABLE))
            else:
                found = self.read(path, raw)
                if found is not None and name != str(found.checkpoint.size):
                    said = f"{path} is of {found.checkpoint.size} leaves"
                    self._refused.append((said, Exit.BROKEN))
        if kept:
            self.read(KEPT, kept)

    def _read_stray(self, path: str, raw: bytes, strays: Places) -> None:
        """Read a file that no log put there: if the log signed it, it counts all the same."""
        try:
            self.policy.verify_log(raw, every_key=self.every_key)
        except LogError:
            strays.add(path)
        else:
            self.read(path, raw)

    def read(self, path: str, note: bytes) -> SignedCheckpoint | None:
        """Read one more note of this log; None if the log did not sign it."""
        try:
            found = self.policy.verify_log(note, every_key=self.every_key)
        except LogError as error:
            own = path == KEPT and error.code in UNREADABLE
            end = Exit.UNREADABLE if own else Exit.BROKEN
            self._refused.append((f"{path}: {error} [{error.code}]", end))
            return None
        if found.checkpoint.origin != self.newest.origin:
            said = f"{path} is of another log, {found.checkpoint.origin}"
            self._refused.append((said, Exit.UNREADABLE if path == KEPT else Exit.BROKEN))
            return None
        self.signed[path] = found
        return found

    @property
    def kept(self) -> int | None:
        """Size of the checkpoint that the auditor kept."""
        found = self.signed.get(KEPT)
        return None if found is None else found.checkpoint.size

    def sizes(self) -> set[int]:
        """Return the sizes of which the root is wanted."""
        return {each.checkpoint.size for each in self.signed.values()}

    def compare(self, findings: Findings, roots: Mapping[int, bytes], *, proven: bool) -> None:
        """Hold each against the tree.

        Args:
            findings: Where to say it.
            roots: Of the tree that was computed, at the sizes that it passed through.
            proven: Whether that tree is the one that the newest checkpoint names, and signed.
        """
        good, unseen, other = 0, Places(), Places()
        for path, each in self.signed.items():
            size, newest = each.checkpoint.size, self.newest
            computed = newest.root if size == newest.size else roots.get(size)
            if self._contradicted(each.checkpoint, roots, proven=proven):
                self._fork(findings, path, each)
            elif size > newest.size:
                said = f"{path} has {size} leaves, and this bundle only {newest.size}"
                findings.failed(_CHECK, f"{said}: nothing is shown of it", Exit.UNMET)
            elif computed == each.checkpoint.root:
                good += 1
            else:
                (unseen if computed is None else other).add(path)
        if other.count:
            said = f"{other.count} are not what these leaves begin with: {other.shown}"
            findings.failed(_CHECK, said)
        self._say(findings, good, unseen)

    def _say(self, findings: Findings, good: int, unseen: Places) -> None:
        for said, end in self._refused:
            findings.failed(_CHECK, said, end)
        if unseen.count or self._left_out:
            said = f"{unseen.count + self._left_out} could not be compared: {unseen.shown}"
            findings.skipped(_CHECK, said, Exit.UNMET)
        if good:
            findings.passed(_CHECK, f"{good} of {len(self.signed)} lead to the newest")
        elif not self.signed and not self._refused:
            findings.skipped(_CHECK, "the bundle has none, and you kept none")

    def all_signed(self) -> Iterator[SignedCheckpoint]:
        """Yield all that the log signed, the newest included."""
        yield from self.signed.values()
        if self.own is not None:
            yield self.own

    def _contradicted(
        self, checkpoint: Checkpoint, roots: Mapping[int, bytes], *, proven: bool
    ) -> bool:
        """Whether the log signed two trees: of one size, or one that the other does not begin with.

        Leaves that do not lead to the signed root prove nothing against the log's owner: anybody
        may have changed them.
        """
        if self._twin(checkpoint) is not None:
            return True
        computed = roots.get(checkpoint.size)
        return proven and computed is not None and computed != checkpoint.root

    def _fork(self, findings: Findings, path: str, found: SignedCheckpoint) -> None:
        said = f"{path}: the log signed another tree of {found.checkpoint.size} leaves"
        findings.failed("FORK", said, Exit.FORK)
        against = self._twin(found.checkpoint) or self.own or found
        self.forks.append(Fork(path, against.note.to_bytes(), found.note.to_bytes()))

    def _twin(self, checkpoint: Checkpoint) -> SignedCheckpoint | None:
        """Return another signed checkpoint of the same size, if there is one of another root."""
        size, root = checkpoint.size, checkpoint.root
        same = (each for each in self.all_signed() if each.checkpoint.size == size)
        return next((each for each in same if each.checkpoint.root != root), None)
