"""Files from which a request is made: JSON or YAML of anybody's, and one error for all others."""

from pathlib import Path

import pytest

from broker.cli.requests import RequestFileError, read_request, request_of

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "aliases that say a hundred million items": f"{BOMB}alert: {{body: {{x: *i}}}}\n",
    "a list that holds itself": "alert: {body: {x: &a [*a]}}\n",
    "a date that is none": "alert: {body: {x: 2026-99-99}}\n",
    "a time that is none": "alert: {body: {x: !!timestamp x}}\n",
    "a number that is none": "alert: {body: {x: !!int ''}}\n",
    "a truth that is none": "alert: {body: {x: !!bool x}}\n",
    "a version without an end": "alert: {type: cyber, version: .inf, body: {}}\n",
    "brackets alone": "[" * 5000,
    "words where fields belong": "alert: {type: cyber, body: words}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "request.yaml"
    path.write_text(HOSTILE[name])
    with pytest.raises(RequestFileError):
        request_of(read_request(path), None, original=None)


def test_merged_maps_and_json_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "request.yaml"
    path.write_text('{"alert": {"body": {"a": 1}}}')
    assert read_request(path) == {"alert": {"body": {"a": 1}}}
