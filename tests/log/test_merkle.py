"""The tree against its definition, the published vectors, and everything that must not verify."""

import json
import random  # noqa: TID251 - seeded sizes
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.merkle import (
    EMPTY_ROOT,
    MAX_TREE_SIZE,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    small_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from broker.log.tiles import Tile, parse_path
from tests.log.trees import definition, entry, flipped, leaves, lookup

LARGEST = 130  # every tree up to here; some of the larger ones
TALLEST = 600
HASHES = st.binary(min_size=32, max_size=32) | st.binary(max_size=40)


def probes(external: Path, kind: str) -> list[tuple[str, dict]]:
    files = sorted((external / "vectors/merkle" / kind).rglob("*.json"))
    return [(str(file), json.loads(file.read_text("utf-8"))) for file in files]


def decoded(values: list[str] | None) -> list[bytes]:
    return [b64decode(value) for value in values or ()]


def verdict(verify: Callable[..., None], **arguments: object) -> bool:
    try:
        verify(**arguments)
    except LogError:
        return False
    return True


@pytest.mark.records
def test_every_published_inclusion_probe_gives_the_published_verdict(external: Path) -> None:
    cases = probes(external, "inclusion")
    assert len(cases) == 98
    for file, case in cases:
        passed = verdict(
            lambda case=case: verify_inclusion(
                b64decode(case["leafHash"] or ""),
                index=case["leafIdx"],
                size=case["treeSize"],
                proof=decoded(case["proof"]),
                root=b64decode(case["root"] or ""),
            )
        )
        assert passed is not case["wantErr"], file


@pytest.mark.records
def test_every_published_consistency_probe_gives_the_published_verdict(external: Path) -> None:
    cases = probes(external, "consistency")
    assert len(cases) == 98
    for file, case in cases:
        passed = verdict(
            verify_consistency,
            old=case["size1"],
            new=case["size2"],
            proof=decoded(case["proof"]),
            old_root=b64decode(case["root1"] or ""),
            new_root=b64decode(case["root2"] or ""),
        )
        assert passed is not case["wantErr"], file


@pytest.mark.records
def test_published_leaves_nodes_and_roots(external: Path) -> None:
    notes = json.loads((external / "vectors/notes.json").read_text("utf-8"))
    of_kind = {case["kind"]: case for case in notes}
    leaf = of_kind["leafhash"]
    assert leaf_hash(leaf["leaf"].encode()) == b64decode(leaf["expect_b64"])
    hashes = of_kind["rfc6962-hash"]
    assert leaf_hash(b"L123456").hex() == hashes["leaf_L123456"]
    assert leaf_hash(b"").hex() == hashes["empty_leaf"]
    assert node_hash(b"N123", b"N456").hex() == hashes["node_N123_N456"]
    roots = of_kind["rfc6962-roots"]
    assert EMPTY_ROOT.hex() == roots["empty_root"]
    frontier = Frontier()
    for leaf, root in zip(roots["leaves_hex"], roots["roots_by_size"], strict=True):
        frontier = frontier.append([leaf_hash(bytes.fromhex(leaf))])
        assert frontier.root().hex() == root


def test_the_root_is_the_definition_s_however_the_leaves_were_cut_into_batches() -> None:
    for size in range(LARGEST + 1):
        assert Frontier().append(leaves(size)).root() == definition(0, size)
        assert tree_root(size, lookup) == definition(0, size)
        assert small_root([entry(index) for index in range(size)]) == definition(0, size)
        for cut in range(size + 1):
            grown = Frontier.of(cut, lookup).append(leaves(size)[cut:])
            assert grown == Frontier.of(size, lookup)


def test_inclusion_is_proved_for_every_leaf_and_for_nothing_else() -> None:
    for size in range(1, LARGEST + 1):
        root = definition(0, size)
        for index in range(size):
            leaf = definition(index, index + 1)
            proof = inclusion_proof(index, size, lookup)
            good = {"leaf": leaf, "index": index, "size": size, "proof": proof, "root": root}
            verify_inclusion(**good)
            for change in wrong_proofs(proof):
                assert not verdict(verify_inclusion, **{**good, "proof": change})
            assert not verdict(verify_inclusion, **{**good, "leaf": flipped(leaf)})
            assert not verdict(verify_inclusion, **{**good, "root": flipped(root, 255)})
            for other in {-1, 0, index - 1, index + 1, index ^ 2, size - 1, size} - {index}:
                assert not verdict(verify_inclusion, **{**good, "index": other})
            for other in {0, size // 2, size - 1, size + 1, size * 2}:
                changed = {**good, "size": other, "root": definition(0, other)}
                assert not verdict(verify_inclusion, **changed)


def test_consistency_is_proved_for_every_two_sizes_and_for_nothing_else() -> None:
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, lookup)
            old_root, new_root = definition(0, old), definition(0, new)
            good = {"old": old, "new": new, "proof": proof}
            good |= {"old_root": old_root, "new_root": new_root}
            verify_consistency(**good)
            for change in wrong_proofs(proof):
                assert not verdict(verify_consistency, **{**good, "proof": change})
            assert not verdict(verify_consistency, **{**good, "old_root": flipped(old_root)})
            assert not verdict(verify_consistency, **{**good, "new_root": flipped(new_root)})
            for other in {-1, 0, old - 1, old + 1, new + 1} - {old}:
                assert not verdict(verify_consistency, **{**good, "old": other})
            for other in {0, old - 1, new - 1, new + 1, new * 2}:
                changed = {**good, "new": other, "new_root": definition(0, other)}
                assert not verdict(verify_consistency, **changed)


def wrong_proofs(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    changed = [
        (*proof[:at], flipped(each, at * 7 % 256), *proof[at + 1 :])
        for at, each in enumerate(proof)
    ]
    swapped = [
        (*proof[:at], right, left, *proof[at + 2 :])
        for at, (left, right) in enumerate(pairwise(proof))
    ]
    lengthened = [(*proof, EMPTY_ROOT), (EMPTY_ROOT, *proof), (*proof, b""), (*proof, b"\0" * 31)]
    shortened = [proof[1:], proof[:-1]] if proof else []
    return changed + swapped + lengthened + shortened


def test_every_bit_of_a_proof_counts() -> None:
    proof = inclusion_proof(77, 130, lookup)
    for at, each in enumerate(proof):
        for bit in range(256):
            changed = (*proof[:at], flipped(each, bit), *proof[at + 1 :])
            with pytest.raises(LogError) as refused:
                verify_inclusion(
                    definition(77, 78), index=77, size=130, proof=changed, root=definition(0, 130)
                )
            assert refused.value.code == "inclusion-failed"


def test_every_bit_of_every_input_of_a_consistency_proof_counts() -> None:
    good = {
        "old": 77,
        "new": 130,
        "proof": consistency_proof(77, 130, lookup),
        "old_root": definition(0, 77),
        "new_root": definition(0, 130),
    }
    verify_consistency(**good)
    for name in ("old_root", "new_root"):
        for bit in range(256):
            assert not verdict(verify_consistency, **{**good, name: flipped(good[name], bit)})
    for at, each in enumerate(good["proof"]):
        for bit in range(256):
            changed = (*good["proof"][:at], flipped(each, bit), *good["proof"][at + 1 :])
            assert not verdict(verify_consistency, **{**good, "proof": changed})


def test_every_bit_of_every_input_of_an_inclusion_proof_counts() -> None:
    good = {
        "leaf": definition(77, 78),
        "index": 77,
        "size": 130,
        "proof": inclusion_proof(77, 130, lookup),
        "root": definition(0, 130),
    }
    verify_inclusion(**good)
    for name in ("leaf", "root"):
        for bit in range(256):
            assert not verdict(verify_inclusion, **{**good, name: flipped(good[name], bit)})
    for bit in range(64):
        assert not verdict(verify_inclusion, **{**good, "index": 77 ^ (1 << bit)})


def test_random_trees_of_up_to_six_hundred_leaves_are_the_definition_s() -> None:
    order = random.Random(600)  # noqa: S311 - not for a secret
    for new in (TALLEST, *order.sample(range(LARGEST, TALLEST), 6)):
        root = definition(0, new)
        assert Frontier().append(leaves(new)).root() == tree_root(new, lookup) == root
        for at in range(new):
            leaf, proof = definition(at, at + 1), inclusion_proof(at, new, lookup)
            verify_inclusion(leaf, index=at, size=new, proof=proof, root=root)
            old = at + 1
            proof = consistency_proof(old, new, lookup)
            old_root = definition(0, old)
            verify_consistency(old=old, new=new, proof=proof, old_root=old_root, new_root=root)


def test_a_proof_of_nothing_is_empty_to_make_and_refused_to_verify() -> None:
    assert consistency_proof(0, 5, lookup) == consistency_proof(5, 5, lookup) == ()
    with pytest.raises(LogError) as refused:
        verify_consistency(old=0, new=5, proof=(), old_root=EMPTY_ROOT, new_root=definition(0, 5))
    assert refused.value.code == "bad-tree-size"


def test_what_no_tree_has_is_refused() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5), (0, MAX_TREE_SIZE + 1)):
        with pytest.raises(LogError):
            inclusion_proof(index, size, lookup)
    for old, new in ((6, 5), (-1, 5), (1, MAX_TREE_SIZE + 1)):
        with pytest.raises(LogError):
            consistency_proof(old, new, lookup)
    for size, hashes in ((1, ()), (0, (EMPTY_ROOT,)), (3, (EMPTY_ROOT,)), (-1, (EMPTY_ROOT,))):
        with pytest.raises(LogError):
            Frontier(size, hashes)
    with pytest.raises(LogError):
        Frontier(1, (b"short",))
    with pytest.raises(LogError):
        Frontier().append([EMPTY_ROOT, b"short"])


def test_the_largest_tree_can_be_proved() -> None:
    size = MAX_TREE_SIZE
    cached = [EMPTY_ROOT]
    for _ in range(63):
        cached.append(node_hash(cached[-1], cached[-1]))
    root = tree_root(size, lambda level, _index: cached[level])
    proof = inclusion_proof(0, size, lambda level, _index: cached[level])
    assert len(proof) == 63
    verify_inclusion(EMPTY_ROOT, index=0, size=size, proof=proof, root=root)


def test_size_and_root_belong_together_because_a_proof_alone_does_not_bind_the_size() -> None:
    root = definition(0, 3)
    proof = inclusion_proof(0, 3, lookup)
    verify_inclusion(definition(0, 1), index=0, size=3, proof=proof, root=root)
    verify_inclusion(definition(0, 1), index=0, size=4, proof=proof, root=root)
    with pytest.raises(LogError):
        verify_inclusion(definition(0, 1), index=0, size=4, proof=proof, root=definition(0, 4))


def test_appending_one_by_one_is_as_right_as_at_once() -> None:
    one_by_one = Frontier()
    for each in leaves(600):
        one_by_one = one_by_one.append([each])
    assert one_by_one == Frontier().append(leaves(600))


@given(
    st.integers(-2, 2**64), st.integers(-2, 2**64), st.lists(HASHES, max_size=70), HASHES, HASHES
)
def test_any_input_gives_a_verdict_or_our_error(
    first: int, second: int, proof: list[bytes], one: bytes, other: bytes
) -> None:
    with suppress(LogError):
        verify_inclusion(one, index=first, size=second, proof=proof, root=other)
    with suppress(LogError):
        verify_consistency(old=first, new=second, proof=proof, old_root=one, new_root=other)


def published(external: Path, kind: str) -> dict[str, Any]:
    """The one case of this kind among the published ones."""
    cases = json.loads((external / "vectors/notes.json").read_text("utf-8"))
    (found,) = (case for case in cases if case["kind"] == kind)
    return dict(found)


@pytest.mark.records
def test_published_hashes_and_roots_are_ours(external: Path) -> None:
    greeting = published(external, "leafhash")
    assert leaf_hash(greeting["leaf"].encode()) == b64decode(greeting["expect_b64"])
    hashes = published(external, "rfc6962-hash")
    assert leaf_hash(b"L123456").hex() == hashes["leaf_L123456"]
    assert leaf_hash(b"").hex() == hashes["empty_leaf"]
    assert node_hash(b"N123", b"N456").hex() == hashes["node_N123_N456"]
    roots = published(external, "rfc6962-roots")
    assert EMPTY_ROOT.hex() == roots["empty_root"]
    frontier = Frontier()
    for leaf, root in zip(roots["leaves_hex"], roots["roots_by_size"], strict=True):
        frontier = frontier.append([leaf_hash(bytes.fromhex(leaf))])
        assert frontier.root().hex() == root


@pytest.mark.records
def test_published_paths_of_tiles_are_ours(external: Path) -> None:
    for level, index, width, path in published(external, "tile-path")["cases"]:
        assert Tile(level, index, width).path == path
        assert parse_path(path) == Tile(level, index, width)
