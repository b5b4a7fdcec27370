"""The table is whole: what reads bytes in the code is fuzzed, or it says here why it is not."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.parser import CORPUS, Parser
from tests.fuzz.reach import called
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
        "base64.urlsafe_b64decode",
        "Metadata.from_bytes",
        "datetime.fromtimestamp",  # of a number that no calendar has it raises three other errors
        "b64decode",
        "from_json",
        "load_der_public_key",
        "read_fields",
    }
)
ANSWERED = ("broker.transport.services.", "broker.transport.attaching.")  # `_ask` is theirs
METHODS = frozenset({"model_validate", "model_validate_json", "unpack", "unpack_from"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def functions() -> tuple[tuple[str, Function], ...]:
    """Return every function of the packages, with its full name."""
    return tuple(
        found
        for package in ("schemas", "keys", "broker")
        for path in sorted((ROOT / package).rglob("*.py"))
        for found in _within(
            ast.parse(path.read_text("utf-8")),
            ".".join(path.relative_to(ROOT).with_suffix("").parts),
        )
    )


def _within(tree: ast.AST, name: str) -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _within(node, f"{name}.{node.name}")


def reads_bytes(name: str, node: Function) -> bool:
    """Whether it is called a parser, or hands bytes to one, or asks for them over a link."""
    if node.name.startswith("parse_"):
        return True
    asked_for = name.startswith(ANSWERED)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            called = ast.unparse(inner.func)
            asks = called.endswith("link.request") or (asked_for and called == "self._ask")
            if called in DECODERS or asks:
                return True
            if isinstance(inner.func, ast.Attribute) and inner.func.attr in METHODS:
                return True
    return False


def served() -> Iterator[str]:
    """Yield every function that is handed over to answer what comes over a link."""
    known = {name for name, _ in functions()}
    for name, node in functions():
        calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
        if not any(ast.unparse(call.func).endswith("link.serve") for call in calls):
            continue
        called = {call.func for call in calls}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and inner not in called:
                yield from _meant(ast.unparse(inner), name, known)


def _meant(method: str, where: str, known: set[str]) -> Iterator[str]:
    """Yield the methods that `self.x` or `self.part.x` may be, as seen from a function."""
    own, _ = where.rsplit(".", 1)
    match method.split("."):
        case ["self", name] if f"{own}.{name}" in known:
            yield f"{own}.{name}"
        case ["self", part, name]:
            package = own.rsplit(".", 2)[0]
            end = f".{part.capitalize()}.{name}"
            yield from (each for each in known if each.startswith(package) and each.endswith(end))
        case _:
            pass


def test_every_function_that_reads_bytes_is_fuzzed_or_says_why_not() -> None:
    covered = {name for parser in PARSERS for name in parser.covers}
    found = {name for name, node in functions() if reads_bytes(name, node)} | set(served())
    assert sorted(found - covered - set(NOT_FUZZED)) == []


def test_what_answers_over_a_link_is_seen() -> None:
    assert {
        "broker.hub.attachments.AttachmentService._answer",
        "broker.hub.services.MemberServices._directory",
        "broker.ledger.cosigning.Cosigning.submit",
        "broker.ledger.standings.Standings.report",
    } <= set(served())


def test_the_table_names_no_function_that_is_not_there() -> None:
    known = {name for name, _ in functions()}
    covered = {name for parser in PARSERS for name in parser.covers}
    assert sorted((covered | set(NOT_FUZZED)) - known) == []
    assert not covered & set(NOT_FUZZED)
    assert all(NOT_FUZZED.values())


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_kept_inputs_run_each_function_that_their_parser_is_said_to_cover(parser: Parser) -> None:
    ran = frozenset().union(*(called(parser, raw) for raw in parser.samples()))
    assert sorted(set(parser.covers) - ran) == []


def test_every_kept_input_is_given_to_a_parser() -> None:
    """A parser that a merge drops leaves its corpus behind, and nothing else tells of it."""
    kept = {folder.name for folder in CORPUS.iterdir()}
    assert sorted(kept ^ {parser.corpus.name for parser in PARSERS}) == []
    assert all(parser.samples() for parser in PARSERS)
