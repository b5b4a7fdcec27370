"""The few words of Go's templates that our chart uses, so that it renders where no helm is.

`{{ .A.b }}`, `{{ $.A.b }}`, `{{ $x.b }}`, `{{ $x }}`; lines with `{{- if .A.b }}`,
`{{- if $x.b }}`, `{{- if not .A.b }}`, `{{- range $key, $value := .A.b }}` and `{{- end }}`.
Anything else is refused: the chart then says more than this can check.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_VALUE = re.compile(r"\{\{ (\$\w*)?((?:\.\w+)*) \}\}")
_RANGE = re.compile(r"\{\{- range (\$\w+), (\$\w+) := ((?:\.\w+)+) \}\}")
_IF = re.compile(r"\{\{- if (not )?(\$\w*)?((?:\.\w+)+) \}\}")
_END = "{{- end }}"


def render(text: str, values: Mapping[str, Any], release: str) -> str:
    """Return what helm would make of a template."""
    scope = {"$": {"Values": values, "Release": {"Name": release}}}
    return "\n".join(_lines(text.splitlines(), scope)) + "\n"


def _lines(lines: list[str], scope: Mapping[str, Any]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.startswith("{{-"):
            yield _VALUE.sub(lambda found: str(_value(found[1], found[2], scope)), line)
            assert "{{" not in _VALUE.sub("", line), line
            at += 1
            continue
        end = _end_of(lines, at)
        yield from _block(line, lines[at + 1 : end], scope)
        at = end + 1


def _block(head: str, body: list[str], scope: Mapping[str, Any]) -> Iterator[str]:
    if found := _IF.fullmatch(head):
        if bool(_value(found[2], found[3], scope)) != bool(found[1]):
            yield from _lines(body, scope)
        return
    found = _RANGE.fullmatch(head)
    assert found, head
    for key, value in sorted(_value("$", found[3], scope).items()):
        yield from _lines(body, {**scope, found[1]: key, found[2]: value})


def _end_of(lines: list[str], start: int) -> int:
    depth = 0
    for number in range(start, len(lines)):
        if lines[number].startswith(("{{- if", "{{- range")):
            depth += 1
        elif lines[number] == _END:
            depth -= 1
            if not depth:
                return number
    raise AssertionError(lines[start])


def _value(name: str | None, path: str, scope: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of YAML
    value = scope[name or "$"]
    for part in path.split(".")[1:]:
        value = value[part]
    return value
