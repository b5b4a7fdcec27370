"""Puts a marker into every free text of an alert: wherever the alert is still valid with it."""

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from schemas.common import Alert

MARK: Final = "quokka7forty"  # a word that no library, certificate or path holds
_FORMS: Final = (
    "{value} {mark}",
    "{value}{mark}",
    "{mark}",
    "{mark}@police.example",
    "{mark}.example",
    "https://{mark}.example/{mark}",
    "@{mark}",
    "{value}/{mark}",
)
Path = tuple[str | int, ...]


def planted(alert: Alert) -> tuple[Alert, frozenset[str]]:
    """Return the alert with the marker wherever it fits, and where; list positions as `*`."""
    body: dict[str, Any] = alert.model_dump(mode="json", exclude_none=True)
    where = set()
    for path in list(_texts(body, ())):
        value = _at(body, path)
        for form in _FORMS:
            _put(body, path, form.format(value=value, mark=MARK))
            try:
                type(alert).model_validate_json(json.dumps(body))
            except ValidationError:
                _put(body, path, value)
            else:
                where.add(".".join("*" if isinstance(part, int) else part for part in path))
                break
    return type(alert).model_validate_json(json.dumps(body)), frozenset(where)


def _texts(value: object, path: Path) -> Iterator[Path]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _texts(inner, (*path, name))
        case list():
            for number, inner in enumerate(value):
                yield from _texts(inner, (*path, number))
        case str():
            yield path


def _at(body: Any, path: Path) -> Any:  # noqa: ANN401 - JSON
    for part in path:
        body = body[part]
    return body


def _put(body: Any, path: Path, value: str) -> None:  # noqa: ANN401 - JSON
    _at(body, path[:-1])[path[-1]] = value
