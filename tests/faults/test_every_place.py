"""The table of crash points is whole: what writes durable state is in it, or says why it is not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.places import REASONS, ROWS
from tests.faults.writers import WRITERS

ROOT = Path(__file__).parents[2]
FUNCTIONS = frozenset(
    {"write_private", "write_digested", "replace_file", "new_private_file", "add_file", "give_name"}
)
METHODS = frozenset({"rename", "hardlink_to", "write_bytes", "write_text", "change"})
OF_THE_SYSTEM = frozenset({"write", "pwrite", "replace", "rename", "link", "symlink", "truncate"})
COPIES = frozenset({"copyfile", "copyfileobj", "copy2", "copytree", "move"})  # of `shutil`
TO_STREAMS = frozenset({"publish_acked", "publish_all", "erase_message"})
CHANGES_OF_STREAMS = ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.MSG.DELETE", "STREAM.PURGE",
                      "STREAM.DELETE", "CONSUMER.DURABLE.CREATE", "CONSUMER.DELETE")  # fmt: skip
WRITING_MODES = frozenset("wxa+")
LONGEST_MODE = 3  # "r+b"
WRITING_FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "flags")  # flags that are named are not looked up


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
        case ast.Attribute(value=ast.Name(id="os" | "shutil" as module), attr=called):
            found = _of_system(call, module, called)
        case ast.Name(id="open") | ast.Attribute(attr="open"):  # of an archive the mode is second
            found = _in_mode(call)
        case ast.Attribute(attr="api"):
            found = any(word in ast.unparse(call.args[0]) for word in CHANGES_OF_STREAMS)
        case ast.Attribute(attr="replace"):  # of a path; of a text it has two, of a time keywords
            found = len(call.args) == 1 and not call.keywords
        case ast.Attribute(attr=called):
            found = called in METHODS | FUNCTIONS | TO_STREAMS
        case ast.Name(id=called):
            found = called in FUNCTIONS | TO_STREAMS
        case _:
            found = False
    return found


def _of_system(call: ast.Call, module: str, called: str) -> bool:
    if module == "shutil":
        return called in COPIES
    if called == "open":
        return any(flag in ast.unparse(call.args[1]) for flag in WRITING_FLAGS)
    return called in OF_THE_SYSTEM or (called == "fdopen" and _in_mode(call))


def _in_mode(call: ast.Call) -> bool:
    """Whether a call of some `open` names a mode in which a file is written."""
    given = [*call.args[:2], *(each.value for each in call.keywords if each.arg == "mode")]
    words = [each.value for each in given if isinstance(each, ast.Constant)]
    return any(
        isinstance(word, str) and len(word) <= LONGEST_MODE and WRITING_MODES & set(word)
        for word in words
    )


def test_every_place_that_writes_has_a_row_or_says_why_not() -> None:
    found = places()
    assert sorted(found - ROWS.keys() - REASONS.keys()) == []
    assert sorted((ROWS.keys() | REASONS.keys()) - found) == []  # nor is one named that is gone
    assert not ROWS.keys() & REASONS.keys()
    assert all(REASONS.values())


def test_every_row_named_is_one_that_is_tried() -> None:
    assert set(ROWS.values()) <= WRITERS.keys()


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("open(name, 'w')", True),
        ("open(name)", False),
        ("path.open('x')", True),
        ("path.open('xb')", True),
        ("path.open('wb')", True),
        ("path.open(mode='r+b')", True),
        ("path.open('rb')", False),
        ("tarfile.open(path, 'w')", True),
        ("vault.open(sealed, name='wax')", False),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("os.fdopen(handle, 'wb')", True),
        ("os.write(handle, raw)", True),
        ("os.replace(one, other)", True),
        ("os.rename(one, other)", True),
        ("os.link(one, other)", True),
        ("shutil.copyfile(one, other)", True),
        ("path.replace(other)", True),
        ("text.replace(one, other)", False),
        ("link.publish_acked(subject, raw, msg_id=name)", True),
        ("link.publish_all(outgoing)", True),
        ("link.api(f'STREAM.PURGE.{name}', {})", True),
        ("link.api(f'STREAM.INFO.{name}', {})", False),
    ],
)
def test_what_writes_is_known_by_its_call(line: str, *, writes: bool) -> None:
    (call,) = (each for each in ast.walk(ast.parse(line)) if isinstance(each, ast.Call))
    assert _writes(call) is writes
