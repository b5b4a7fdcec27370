"""The table is whole: what reads bytes in the code is fuzzed, or it says here why it is not."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.parser import CORPUS
from tests.fuzz.registry import NOT_FUZZED, PARSERS

ROOT = Path(__file__).parents[2]
DECODERS = frozenset(
    {
        "json.loads",
        "tomllib.loads",
        "tomllib.load",
        "yaml.load",
        "yaml.safe_load",
        "canonical.decode",
        "canonical.unpack",
        "msgpack.unpackb",
        "csv.reader",
        "csv.DictReader",
        "tarfile.open",
        "zlib.decompressobj",
        "bytes.fromhex",
        "int.from_bytes",
        "base64.b64decode",
        "Metadata.from_bytes",
    }
)
METHODS = frozenset({"model_validate_json", "unpack", "unpack_from"})
Found = Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]


def functions() -> Found:
    """Yield every function of the packages, with its full name."""
    for package in ("schemas", "keys", "broker"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield from _within(ast.parse(path.read_text("utf-8")), module)


def _within(tree: ast.AST, name: str) -> Found:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _within(node, f"{name}.{node.name}")


def reads_bytes(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is called a parser, or hands bytes to one of a library."""
    if node.name.startswith("parse_"):
        return True
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            called = ast.unparse(inner.func)
            if called in DECODERS or called == "b64decode":
                return True
            if isinstance(inner.func, ast.Attribute) and inner.func.attr in METHODS:
                return True
    return False


def test_every_function_that_reads_bytes_is_fuzzed_or_says_why_not() -> None:
    covered = {name for parser in PARSERS for name in parser.covers}
    found = {name for name, node in functions() if reads_bytes(node)}
    assert sorted(found - covered - set(NOT_FUZZED)) == []


def test_the_table_names_no_function_that_is_not_there() -> None:
    known = {name for name, _ in functions()}
    covered = {name for parser in PARSERS for name in parser.covers}
    assert sorted((covered | set(NOT_FUZZED)) - known) == []
    assert not covered & set(NOT_FUZZED)
    assert all(NOT_FUZZED.values())


def test_every_kept_input_is_given_to_a_parser() -> None:
    """A parser that a merge drops leaves its corpus behind, and nothing else tells of it."""
    kept = {folder.name for folder in CORPUS.iterdir()}
    assert sorted(kept ^ {parser.corpus.name for parser in PARSERS}) == []
    assert all(parser.samples() for parser in PARSERS)
