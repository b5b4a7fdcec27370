"""The published JSON Schemas, and bounds that hold for every form an alert can take."""

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from jsonschema import Draft202012Validator

from schemas.canonical import MAX_DEPTH
from schemas.common import Alert
from schemas.generate import FOLDER, documents, main
from schemas.label import Label, Strict
from schemas.registry import known
from tests.support.alerts import every_alert

MODELS = [*known().values(), Label]


def test_the_committed_schemas_are_those_of_the_models() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == dict(documents()), "run: python -m schemas.generate"


def test_generating_writes_every_document(tmp_path: Any) -> None:  # noqa: ANN401 - pytest's path
    main(tmp_path / "json")
    assert {path.name for path in (tmp_path / "json").iterdir()} == set(documents())


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
def test_a_good_alert_validates_against_the_published_schema(alert: Alert) -> None:
    schema = json.loads(documents()[f"{alert.TYPE}-{alert.VERSION}.json"])
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(alert.model_dump(mode="json", exclude_none=True))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_alert_can_be_deeper_than_the_encoding_allows(model: type[Strict]) -> None:
    assert deepest(model) <= MAX_DEPTH


@pytest.mark.parametrize("model", known().values(), ids=lambda model: model.TYPE)
def test_nothing_in_an_alert_is_without_bound_or_a_float(model: type[Alert]) -> None:
    schema = model.model_json_schema()
    for path, node in nodes(schema, ""):
        kind = node.get("type")
        assert kind != "number", path
        if kind == "string" and "const" not in node and "enum" not in node:
            assert "maxLength" in node or "pattern" in node or node.get("default"), path
        if kind == "array":
            assert "maxItems" in node, path
        if kind == "integer":
            assert "maximum" in node or "exclusiveMaximum" in node, path


def nodes(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - JSON
    if isinstance(schema, dict):
        if "type" in schema and isinstance(schema["type"], str):
            yield path, schema
        for name, inner in schema.items():
            yield from nodes(inner, f"{path}/{name}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from nodes(inner, path)


def deepest(annotation: Any) -> int:  # noqa: ANN401 - any annotation
    """The most containers inside one another that a value of `annotation` can hold."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return deepest(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return max(map(deepest, get_args(annotation)))
    if origin is tuple:
        return 1 + max(deepest(item) for item in get_args(annotation) if item is not Ellipsis)
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        fields = annotation.model_fields.values()
        return 1 + max(deepest(field.annotation) for field in fields)
    return 0
