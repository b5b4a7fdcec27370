"""Writing the region's TOML files, which `tomllib` reads. Source: TOML 1.0.0."""

import json
from datetime import datetime
from typing import Final, TypeAlias

from schemas.directory import HubDocument, RegionMembers

Scalar: TypeAlias = "str | int | bool | datetime"
Table: TypeAlias = "dict[str, Scalar | list[Scalar] | Table | list[Table]]"

_MEMBERS_HEAD: Final = """\
# Who is a member of the region, and what policies may rely on about each.
# Signed by the threshold of members: no member says these things of itself.
"""
_HUB_HEAD: Final = """\
# How to reach and recognise the hub. Signed by the threshold of members.
# Keys are raw public keys in hexadecimal.
"""


def region_members_toml(document: RegionMembers) -> bytes:
    """Return the text of `region/members.toml`."""
    return _MEMBERS_HEAD.encode() + toml(_fields(document))


def hub_toml(document: HubDocument) -> bytes:
    """Return the text of `region/hub.toml`."""
    return _HUB_HEAD.encode() + toml(_fields(document))


def toml(table: Table) -> bytes:
    """Return the TOML text of nested tables, lists of scalars and lists of tables."""
    return "\n".join(_lines(table, ())).encode() + b"\n"


def _fields(document: HubDocument | RegionMembers) -> Table:
    fields: Table = document.model_dump(mode="json", exclude_none=True)
    return fields


def _lines(table: Table, path: tuple[str, ...]) -> list[str]:
    lines = []
    for name, value in table.items():
        if not _is_table(value):
            lines.append(f"{_key(name)} = {_value(value)}")
    for name, value in table.items():
        below = (*path, name)
        dotted = ".".join(map(_key, below))
        if isinstance(value, dict):
            lines += ["", f"[{dotted}]", *_lines(value, below)]
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    lines += ["", f"[[{dotted}]]", *_lines(item, below)]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain else _string(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case datetime():
            return value.isoformat()
        case str():
            return _string(value)
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            raise TypeError(type(value).__name__)


def _string(text: str) -> str:
    # JSON escapes what TOML's basic strings must escape, but for DELETE.
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if "\n" in text.rstrip("\n") and not set(text) & set('\\"'):
        return '"""\n' + quoted[1:-1].replace("\\n", "\n") + '"""'
    return quoted
