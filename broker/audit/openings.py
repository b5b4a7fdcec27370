"""Openings: what a leaf speaks of, shown by whoever may show it, and held against the leaf.

openings/<index>   of a decision: its wire bytes, as `schemas.decision` reads them
                   of an erasure: 32 bytes salt, u64 index of the leaf that it speaks of
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from broker.audit.bundle import OPENINGS, Bundle, is_number
from broker.audit.findings import Exit, Findings, Places
from broker.audit.walk import read_tile
from broker.log.commitments import check_opening
from broker.log.erasure import erasure_ref, parse_erasure
from broker.log.errors import LogError
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.line import read_number
from broker.log.merkle import leaf_hash
from broker.log.tiles import TILE_WIDTH, Tile, parse_bundle
from keys.primitives.hashing import equal, hmac_sha256
from schemas.decision import ROUTE_CONTEXT, Decision, Opening, parse_decision
from schemas.errors import SchemaError

_CODE: Final = "bad-opening"
_DECISIONS: Final = frozenset({LeafKind.DECISION, LeafKind.EXERCISE})


@dataclass
class Entries:
    """Entries of a bundle by their index. The bundle of entries read last is held."""

    bundle: Bundle
    size: int
    _held: tuple[int, tuple[bytes, ...]] = (-1, ())

    def at(self, index: int) -> bytes | None:
        """Return an entry; None if it is not there.

        Raises:
            LogError: `bad-bundle`: something else stands there.
        """
        number, offset = divmod(index, TILE_WIDTH)
        if number != self._held[0]:
            width = min(TILE_WIDTH, self.size - number * TILE_WIDTH)
            raw = read_tile(self.bundle, Tile(None, number, width))
            self._held = (number, () if raw is None else parse_bundle(raw, width))
        return self._held[1][offset] if self._held[1] else None


@dataclass
class Openings:
    """Checks what is in the folder, and says how it ended.

    Attributes:
        opened: Told of each decision that its leaf speaks of.
    """

    entries: Entries
    opened: Callable[[Decision], None]
    _good: int = 0
    _erasures: int = 0
    _bad: Places = field(default_factory=Places)
    _unread: Places = field(default_factory=Places)
    _unseen: Places = field(default_factory=Places)

    def check(self, findings: Findings, strays: Places) -> None:
        """Check every opening.

        Args:
            findings: Where to say how it ended.
            strays: Told of files that are no openings, by their names.
        """
        for name in self._names():
            if is_number(name):
                self._one(name)
            else:
                strays.add(f"{OPENINGS}/{name}")
        if self._bad.count:
            said = f"{self._bad.count} do not match their leaves: {self._bad.shown}"
            findings.failed("openings", said)
        if self._unread.count:
            said = f"{self._unread.count} cannot be read: {self._unread.shown}"
            findings.failed("openings", said, Exit.UNREADABLE)
        if self._unseen.count:
            said = f"{self._unseen.count} of leaves that are not there: {self._unseen.shown}"
            findings.skipped("openings", said, Exit.UNMET)
        if self._good:
            findings.passed("openings", f"{self._good} match their leaves")
        elif not (self._bad.count or self._unread.count or self._unseen.count):
            findings.skipped("openings", "the bundle has none")

    def check_erasures(self, findings: Findings, *, erasures: int, refs: Places) -> None:
        """Say what is known of erasures, once the openings were checked.

        Args:
            findings: Where to say it.
            erasures: How many leaves of that kind there are.
            refs: Leaves that refer to another and must not, or do not and must.
        """
        if refs.count:
            findings.failed("erasures", f"{refs.count} leaves refer wrongly, at {refs.shown}")
        if unopened := erasures - self._erasures:
            findings.skipped("erasures", f"{unopened} point at leaves that nobody shows")
        if self._erasures or not erasures:
            findings.passed("erasures", f"{self._erasures} of {erasures} shown to point at a leaf")

    def _names(self) -> list[str]:
        """Return the names with the numbers in order, so that each bundle is read once."""
        names = self.entries.bundle.names(OPENINGS)
        return sorted(names, key=lambda name: (len(name), name))

    def _one(self, name: str) -> None:
        try:
            index = read_number(name, code=_CODE)
            raw = self.entries.bundle.read(f"{OPENINGS}/{name}")
            if raw is None:
                self._unread.add(name)
                return
            entry = self.entries.at(index) if index < self.entries.size else b""
            if entry is None:
                self._unseen.add(name)
                return
            leaf = parse_leaf(entry)
            if leaf.signed.statement.kind is LeafKind.ERASURE:
                self._erasure(index, leaf, raw)
            else:
                self.opened(opened_decision(leaf, raw))
                self._good += 1
        except LogError as error:
            self._bad.add(f"{name} [{error.code}]")

    def _erasure(self, index: int, leaf: Leaf, raw: bytes) -> None:
        salt, about = parse_erasure(raw)
        entry = self.entries.at(about) if about < index else b""
        if entry is None:
            self._unseen.add(index)
            return
        if not equal(erasure_ref(salt, leaf_hash(entry)), leaf.signed.statement.ref):
            raise LogError("opening-mismatch", "the erasure points at another leaf")
        self._erasures += 1
        self._good += 1


def opened_decision(leaf: Leaf, raw: bytes) -> Decision:
    """Return the decision of which `leaf` speaks, with every record that is shown.

    The leaf commits to the header, and the header to each record: both are compared. Whether a
    gateway signed the leaf is for the caller to know.

    Args:
        leaf: Of the log.
        raw: The opening, not trusted.

    Raises:
        LogError: `bad-opening` or `opening-mismatch`.
    """
    statement = leaf.signed.statement
    if statement.kind not in _DECISIONS:
        raise LogError("opening-mismatch", f"a leaf of kind {statement.kind.name} has no opening")
    try:
        decision = parse_decision(raw)
    except SchemaError as error:
        raise LogError(_CODE, f"not a decision: {error}") from None
    check_opening(statement, decision)
    for opening, committed in zip(decision.openings, decision.header.slots, strict=True):
        if opening is not None and not equal(_commitment(opening), committed):
            raise LogError("opening-mismatch", "a verdict is not the one decided")
    return decision


def _commitment(opening: Opening) -> bytes:
    """Return what a header commits to a record by (schemas/SPEC.md section 8)."""
    return hmac_sha256(opening.salt, ROUTE_CONTEXT + opening.record_bytes)
