"""Logs say ids, codes and counts, whatever they are given."""

import json
import logging
from collections.abc import Callable, Iterator

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
