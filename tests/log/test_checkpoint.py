"""Checkpoints: one spelling each, and no text that is read in two ways."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import EMPTY_ROOT
from broker.log.note import SignatureLine, parse_note

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
SPECIFIED = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n"

lines = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20)
checkpoints = st.builds(
    Checkpoint,
    lines,
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(lines, max_size=3).map(tuple),
)


def test_the_checkpoint_of_the_specification_is_read() -> None:
    checkpoint = parse_checkpoint(SPECIFIED)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.to_text() == SPECIFIED
    assert checkpoint.extensions == ()


@given(checkpoints)
def test_a_checkpoint_comes_back(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint.to_text()) == checkpoint
    signed = checkpoint.signed([SignatureLine.of("a", 1, b"sig")])
    assert parse_checkpoint(parse_note(signed.to_bytes()).text) == checkpoint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-checkpoint"),
        ("a\n1\n", "bad-checkpoint"),
        (f"a\n1\n{ROOT}", "bad-checkpoint"),
        (f"\n1\n{ROOT}\n", "bad-checkpoint"),
        (f"a\n01\n{ROOT}\n", "bad-checkpoint"),
        (f"a\n-1\n{ROOT}\n", "bad-checkpoint"),
        (f"a\n\n{ROOT}\n", "bad-checkpoint"),
        (f"a\n{2**63}\n{ROOT}\n", "bad-checkpoint"),
        (f"a\n1\n{ROOT}\n\n", "bad-checkpoint"),
        (f"a\n1\n{ROOT}\nx\n\ny\n", "bad-checkpoint"),
        (f"a\n1\n{ROOT[:-2]}J=\n", "bad-checkpoint"),  # unused bits that are not zero
        (f"a\n1\n{ROOT} \n", "bad-checkpoint"),
        (f"a\n1\n{ROOT}\r\n", "bad-checkpoint"),
        ("a\n1\nAAAA\n", "bad-hash"),
        ("a\n1\n\n", "bad-hash"),
        (f"a\x00\n1\n{ROOT}\n", "bad-note"),
        (f"a\n1\n{ROOT}\n\x1b\n", "bad-note"),
        (f"\ud800\n1\n{ROOT}\n", "bad-note"),
    ],
)
def test_another_text_is_refused(text: str, code: str) -> None:
    with pytest.raises(LogError) as caught:
        parse_checkpoint(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, EMPTY_ROOT, ()),
        ("a\nb", 1, EMPTY_ROOT, ()),
        ("a", -1, EMPTY_ROOT, ()),
        ("a", 2**63, EMPTY_ROOT, ()),
        ("a", 1, bytes(31), ()),
        ("a", 1, EMPTY_ROOT, ("",)),
        ("a", 1, EMPTY_ROOT, ("x\ny",)),
        ("a\t", 1, EMPTY_ROOT, ()),
    ],
)
def test_what_could_not_be_read_back_is_not_made(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(LogError):
        Checkpoint(origin, size, root, extensions)


def test_an_empty_tree_has_one_root() -> None:
    Checkpoint("a", 0, EMPTY_ROOT).check_empty_root()
    Checkpoint("a", 1, bytes(32)).check_empty_root()
    with pytest.raises(LogError) as caught:
        Checkpoint("a", 0, bytes(32)).check_empty_root()
    assert caught.value.code == "bad-empty-root"


@given(st.text(max_size=80) | lines.map(lambda line: f"{line}\n1\n{ROOT}\n{line}\n"))
def test_any_text_gives_a_checkpoint_that_reads_back_or_our_error(text: str) -> None:
    with suppress(LogError):
        assert parse_checkpoint(text).to_text() == text
