"""The table of crash points is whole: what writes durable state is in it, or says why it is not."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.faults.places import REASONS, ROWS
from tests.faults.writers import WRITERS

ROOT = Path(__file__).parents[2]
FUNCTIONS = frozenset(
    {"write_private", "write_digested", "replace_file", "new_private_file", "add_file"}
)
METHODS = frozenset({"rename", "hardlink_to", "write_bytes", "write_text", "change"})


def places() -> set[str]:
    """Every function of the packages that writes something, with its full name."""
    return {
        name
        for package in ("schemas", "keys", "broker")
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in _within(
            ast.parse(path.read_text("utf-8")), ".".join(path.relative_to(ROOT).parts)[:-3]
        )
    }


def _within(node: ast.AST, name: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _writes(child):
            yield name
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _within(child, f"{name}.{child.name}" if named else name)


def _writes(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=called):
            return called in FUNCTIONS
        case ast.Attribute(attr="replace"):  # of a path; of a text it has two, of a time keywords
            return len(call.args) == 1 and not call.keywords
        case ast.Attribute(attr=called):
            return called in METHODS | FUNCTIONS
    return False


def test_every_place_that_writes_has_a_row_or_says_why_not() -> None:
    found = places()
    assert sorted(found - ROWS.keys() - REASONS.keys()) == []
    assert sorted((ROWS.keys() | REASONS.keys()) - found) == []  # nor is one named that is gone
    assert not ROWS.keys() & REASONS.keys()
    assert all(REASONS.values())


def test_every_row_named_is_one_that_is_tried() -> None:
    assert set(ROWS.values()) <= WRITERS.keys()
