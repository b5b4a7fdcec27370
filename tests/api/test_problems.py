"""A refusal says where and why, and never what was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from broker.api.documented import DRAFT
from broker.api.problems import RequestError, invalid, problem_of
from broker.errors import BrokerError
from broker.node.errors import NodeError
from schemas.desk import CursorAck, DraftRequest, SubmitRequest
from schemas.errors import SchemaError

PLANTED = "Zulkarnain-7331"


def refusal(model: type[BaseModel], sent: object) -> RequestError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(sent))
    return invalid(caught.value, model)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": PLANTED}, "status"),
        ({"tlp": [PLANTED]}, "tlp"),
        ({"recipients": [PLANTED]}, "recipients.0"),
        ({"alert_id": PLANTED}, "alert_id"),
        ({"expires": PLANTED}, "expires"),
        ({"officer_kid": PLANTED}, "officer_kid"),
        ({PLANTED: 1}, ""),
        ({"classification": {"scheme": "NONE", PLANTED: 1}}, "classification"),
        ({"alert": {"type": PLANTED, "version": 1, "body": {}}}, "alert.type"),
        ({"alert": PLANTED}, "alert"),
        ({"original": {"content": PLANTED, "media_type": "a/b"}}, "original.content"),
        ({"original": {"content": "", "media_type": PLANTED}}, "original.media_type"),
    ],
)
def test_the_field_is_named_and_its_value_is_not(change: dict[str, Any], field: str) -> None:
    error = refusal(DraftRequest, {**DRAFT, **change})
    assert error.field == field
    assert PLANTED not in problem_of(error).model_dump_json()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
        max_leaves=20,
    )
)
def test_any_json_is_refused_without_a_fault(sent: object) -> None:
    for model in (DraftRequest, SubmitRequest):
        assert refusal(model, sent).status == 422


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (NodeError("x", "y", kind="invalid", field="alert"), 422, "never"),
        (NodeError("x", "y", kind="forbidden"), 403, "never"),
        (NodeError("x", "y", kind="not-found"), 404, "never"),
        (NodeError("x", "y", kind="conflict"), 409, "never"),
        (NodeError("x", "y", kind="unavailable", retry="later"), 503, "later"),
        (BrokerError("x", "y", retry="later"), 503, "later"),
        (BrokerError("x", "y"), 500, "never"),
        (SchemaError("x", "y", field="alert"), 422, "never"),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int, retry: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.retry) == (status, "x", retry)


def test_an_unexpected_error_is_told_without_its_text() -> None:
    problem = problem_of(RuntimeError(PLANTED))
    assert (problem.status, problem.code, problem.retry) == (500, "internal", "later")
    assert PLANTED not in problem.model_dump_json()


def test_a_field_that_only_the_sender_knows_is_not_repeated() -> None:
    error = NodeError("x", f"{PLANTED}: no", kind="invalid", field=f"alert.{PLANTED}")
    problem = problem_of(error)
    assert PLANTED not in problem.model_dump_json()
    assert problem.field == "alert"


def test_a_position_is_no_float_and_no_text() -> None:
    for wrong in (1.0, "1", True, -1, None):
        assert refusal(CursorAck, {"position": wrong}).field == "position"
