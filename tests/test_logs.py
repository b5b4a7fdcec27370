"""Logs say ids, codes and counts, whatever they are given."""

import ast
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from broker import logs

Written = Callable[[], list[dict[str, object]]]
PLANTED = "Somchai Jaidee 081-234-5678"


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Iterator[Written]:
    logs.configure("test")
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def test_a_field_that_is_not_listed_is_dropped_and_counted(written: Written) -> None:
    logs.get_logger().info("stored", id="0192", name=PLANTED, text=PLANTED)
    (line,) = written()
    assert PLANTED not in json.dumps(line)
    assert line["dropped"] == 2
    assert line["id"] == "0192"


@pytest.mark.parametrize(
    "value", [PLANTED, "a" * 200, "line\nbreak", {"k": PLANTED}, [PLANTED], "ไทย"]
)
def test_a_listed_field_carries_tokens_only(written: Written, value: object) -> None:
    logs.get_logger().info("stored", code=value)
    (line,) = written()
    assert "code" not in line


def test_an_exception_is_its_class_and_code(written: Written) -> None:
    try:
        int(PLANTED)
    except ValueError:
        logs.get_logger().exception("failed")
    (line,) = written()
    assert line["error"] == "ValueError"
    assert PLANTED not in json.dumps(line)


def test_a_library_that_logs_its_input_is_reduced_to_its_name(written: Written) -> None:
    logging.getLogger("some.library").error("could not parse %s", PLANTED)
    (line,) = written()
    assert line["logger"] == "some.library"
    assert PLANTED not in json.dumps(line)


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
SOURCES = Path(logs.__file__).parent


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of our logger, with where it stands."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in LEVELS and ast.unparse(node.func.value) in {
                "_log",
                "get_logger()",
            }:
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", node


def test_every_field_that_is_logged_anywhere_passes() -> None:
    calls = list(log_calls())
    assert len(calls) > 60
    dropped = {
        (where, each.arg)
        for where, call in calls
        for each in call.keywords
        if each.arg not in {*logs.ALLOWED, "exc_info"}
    }
    assert not dropped


def test_events_are_fixed_words_and_never_made_of_what_arrived() -> None:
    made = [
        where
        for where, call in log_calls()
        if not isinstance(call.args[0], ast.Constant | ast.Name | ast.Attribute | ast.IfExp)
    ]
    assert not made


def test_a_place_on_this_machine_passes_as_a_token(written: Written) -> None:
    logs.get_logger().error("directory-split", detail="/var/kentong/node/evidence/1.json")
    (line,) = written()
    assert line["detail"] == "/var/kentong/node/evidence/1.json"
