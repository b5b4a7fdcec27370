"""Tree arithmetic of the log. Sources: RFC 6962 section 2.1, RFC 9162 section 2.1.

A *node* is the perfect subtree at (level, index): it covers the leaves from `index << level`
up to, not including, `(index + 1) << level`; level 0 is the leaf hashes. Any other range of
leaves is hashed from such nodes, so whoever can look nodes up can prove everything.

A proof speaks of a size *and* the root of that size. The same proof may fit a neighbouring size
with the same root, so take both from one signed checkpoint, never from two places.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from broker.log.errors import LogError
from keys.primitives.hashing import DIGEST_BYTES, equal, sha256

HASH_BYTES: Final = DIGEST_BYTES
MAX_TREE_SIZE: Final = 2**63 - 1  # what a signed 64-bit counter holds, as in Go's implementations
MAX_PROOF_HASHES: Final = 63  # the height of the largest tree; tlog-witness has the same limit
EMPTY_ROOT: Final = sha256(b"")

NodeLookup: TypeAlias = Callable[[int, int], bytes]
"""(level, index) -> hash of that node; asked only for nodes that lie wholly inside the tree."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash under which `entry` stands in the tree."""
    return sha256(b"\x00", entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the parent of two subtrees; the 0x01 keeps it apart from any leaf."""
    return sha256(b"\x01", left, right)


@dataclass(frozen=True)
class Frontier:
    """All that is needed to go on with a tree: one hash for every bit set in its size.

    Attributes:
        size: Leaves in the tree.
        hashes: The perfect subtrees that make it up, from the left, which is largest first.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        check_size(self.size)
        if len(self.hashes) != self.size.bit_count():
            raise LogError("bad-frontier", f"a tree of {self.size} leaves has another frontier")
        check_hashes(self.hashes)

    @classmethod
    def of(cls, size: int, lookup: NodeLookup) -> Self:
        """Return the frontier of the first `size` leaves, its hashes taken from `lookup`."""
        check_size(size)
        return cls(size, tuple(lookup(level, index) for level, index in _nodes(0, size)))

    def append(self, leaf_hashes: Iterable[bytes]) -> "Frontier":
        """Return the frontier with these leaf hashes added on the right; `self` stays as it is.

        Works level by level: each level pairs up what the one below completed, and keeps the odd
        one out.
        """
        row = list(leaf_hashes)
        check_hashes(row)
        new_size = self.size + len(row)
        rest = self.size
        waiting = list(self.hashes)
        kept: list[bytes] = []
        while row or rest:
            if rest & 1:
                row.insert(0, waiting.pop())
            if len(row) & 1:
                kept.append(row.pop())
            row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
            rest >>= 1
        return Frontier(new_size, tuple(reversed(kept)))

    def root(self) -> bytes:
        """Return the root hash of the tree so far."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT


def tree_root(size: int, lookup: NodeLookup) -> bytes:
    """Return the root of the first `size` leaves."""
    return Frontier.of(size, lookup).root()


def small_root(entries: Sequence[bytes]) -> bytes:
    """Return the root of a tree of these entries, made for each decision, so without a frontier."""
    row = [sha256(b"\x00", entry) for entry in entries]
    while len(row) > 1:
        pairs = [
            sha256(b"\x01", left, right) for left, right in zip(row[::2], row[1::2], strict=False)
        ]
        # The odd one out moves up as it is: the largest power of two stays on the left.
        row = pairs + row[len(row) & ~1 :]
    return row[0] if row else EMPTY_ROOT


def inclusion_proof(index: int, size: int, lookup: NodeLookup) -> tuple[bytes, ...]:
    """Return PATH(index, D[size]), the leaf's sibling first (RFC 6962 section 2.1.1)."""
    check_index(index, size)
    start, end = 0, size
    siblings: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(_range_hash(middle, end, lookup))
            end = middle
        else:
            siblings.append(_range_hash(start, middle, lookup))
            start = middle
    return tuple(reversed(siblings))


def consistency_proof(old: int, new: int, lookup: NodeLookup) -> tuple[bytes, ...]:
    """Return PROOF(old, D[new]) (RFC 6962 section 2.1.2); empty for `old` of 0 or of `new`."""
    check_size(new)
    if not 0 <= old <= new:
        raise LogError("bad-tree-size", f"no consistency from {old} to {new} leaves")
    if old == 0:
        return ()
    start, end = 0, new
    siblings: list[bytes] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            siblings.append(_range_hash(middle, end, lookup))
            end = middle
        else:
            siblings.append(_range_hash(start, middle, lookup))
            start = middle
    if start:  # else the verifier holds this subtree already: it is the old root
        siblings.append(_range_hash(start, end, lookup))
    return tuple(reversed(siblings))


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if `leaf`, a leaf hash, stands at `index` of the tree of `size` leaves under `root`.

    Source: RFC 9162 section 2.1.3.2.

    Raises:
        LogError: `bad-hash`, `bad-tree-size`, `bad-leaf-index`, or `inclusion-failed`.
    """
    check_index(index, size)
    check_hashes((leaf, root))
    check_hashes(proof)
    place, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise LogError("inclusion-failed", "the proof is longer than the tree is high")
        if place & 1 or place == last:
            computed = node_hash(sibling, computed)
            place, last = _up_to_left_turn(place, last)
        else:
            computed = node_hash(computed, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or not equal(computed, root):
        raise LogError("inclusion-failed", f"leaf {index} is not proved in a tree of {size}")


def verify_consistency(
    *, old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Return if the tree of `new` leaves begins with the tree of `old` leaves.

    Source: RFC 9162 section 2.1.4.2. An `old` of 0 is refused: anything begins with nothing, so a
    caller who means that must say so.

    Raises:
        LogError: `bad-hash`, `bad-tree-size`, or `consistency-failed`.
    """
    check_size(new)
    if not 0 < old <= new:
        raise LogError("bad-tree-size", f"no consistency from {old} to {new} leaves")
    if old == new:  # nothing is computed, so nothing but equality is asked of the roots
        if proof or not equal(old_root, new_root):
            raise LogError("consistency-failed", f"two different trees of {new} leaves")
        return
    check_hashes((old_root, new_root))
    check_hashes(proof)
    computed_old, computed_new = _both_roots(old, new, proof, old_root)
    if not (equal(computed_old, old_root) and equal(computed_new, new_root)):
        raise LogError("consistency-failed", f"the tree of {new} is not proved to extend {old}")


def check_size(size: int) -> None:
    """Return if a tree can have `size` leaves, 0 included."""
    if not 0 <= size <= MAX_TREE_SIZE:
        raise LogError("bad-tree-size", "a tree has from 0 to 2^63-1 leaves")


def check_index(index: int, size: int) -> None:
    """Return if a tree of `size` leaves has a leaf at `index`."""
    check_size(size)
    if not 0 <= index < size:
        raise LogError("bad-leaf-index", f"a tree of {size} leaves has no leaf {index}")


def check_hashes(hashes: Iterable[bytes]) -> None:
    """Return if every one of `hashes` is as long as a SHA-256."""
    if any(len(each) != HASH_BYTES for each in hashes):
        raise LogError("bad-hash", f"a hash is exactly {HASH_BYTES} bytes")


def _both_roots(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """Compute the old and the new root that `proof` leads to."""
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    if not proof:
        raise LogError("consistency-failed", "two sizes differ and the proof is empty")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    computed_old = computed_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LogError("consistency-failed", "the proof is longer than the tree is high")
        if place & 1 or place == last:
            computed_old = node_hash(sibling, computed_old)
            computed_new = node_hash(sibling, computed_new)
            place, last = _up_to_left_turn(place, last)
        else:
            computed_new = node_hash(computed_new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise LogError("consistency-failed", "the proof is shorter than the tree is high")
    return computed_old, computed_new


def _up_to_left_turn(place: int, last: int) -> tuple[int, int]:
    """Skip the levels on which the right edge has no sibling."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _nodes(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield the nodes that make up leaves `start` to `end`, from the left, largest first.

    `start` is a multiple of a power of two that is not below `end - start`, or zero.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _range_hash(start: int, end: int, lookup: NodeLookup) -> bytes:
    return _fold([lookup(level, index) for level, index in _nodes(start, end)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Join subtrees of falling size into one hash, from the right."""
    computed = hashes[-1]
    for left in reversed(hashes[:-1]):
        computed = node_hash(left, computed)
    return computed
