"""Rows of a table, one alert each, by a column map that says where each column belongs.

    type = "drugs"
    reference = "case"               # column of the national reference
    [[field]]
    to = "substances.0.quantity.value"
    column = "cantidad"
    [[field]]
    to = "substances.0.quantity.unit"
    column = "unidad_de_medida"
    codes = { GRAMO = "g" }
    [[field]]
    to = "event_kind"
    value = "seized"                 # the same in every row

A code that the map does not know is an error for that row, never a guess.
"""

import csv
import io
import json
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue, ValidationError

from broker.importers.header import Header, alert_of
from broker.importers.marking import marking_of
from broker.importers.report import (
    MAX_BYTES,
    Imported,
    ImportRefusedError,
    left_out,
    read_json,
)
from schemas.label import Strict

MEDIA_TYPE: Final = "application/json"
MAX_ROWS: Final = 100_000
MAX_MAP_BYTES: Final = 256 * 1024
Row = Mapping[str, str]


class FieldMap(Strict):
    """Where one column, or one fixed value, belongs.

    Attributes:
        to: Dotted path in the alert; a number is a place in a list.
        codes: The source's code, and ours; every code must be known.
        prefix: Put before the cell (`US-` before a state).
        cut: Keep only so many characters from the left (a date out of a timestamp).
        optional: An empty cell leaves the field out.
    """

    to: Annotated[str, Field(max_length=200, pattern=r"^[a-z_]+(\.([a-z_]+|[0-9]+))*$")]
    column: Annotated[str, Field(max_length=200)] = ""
    value: JsonValue = None
    codes: Annotated[dict[str, str], Field(default_factory=dict)]
    cut: Annotated[int, Field(ge=0, le=1000)] = 0
    prefix: Annotated[str, Field(max_length=100)] = ""
    optional: bool = False


class ColumnMap(Strict):
    """A whole map."""

    type: Annotated[str, Field(max_length=32)]
    reference: Annotated[str, Field(max_length=200)] = ""
    prefix: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,32}$")] = "TABLE"
    field: Annotated[tuple[FieldMap, ...], Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Refused:
    """A row of which no alert could be made."""

    number: int
    code: str
    message: str


def read_map(raw: bytes) -> ColumnMap:
    """Return the column map in a TOML file.

    Raises:
        ImportRefusedError: `bad-map`, and what is wrong.
    """
    if len(raw) > MAX_MAP_BYTES:
        raise ImportRefusedError("bad-map", f"a column map has at most {MAX_MAP_BYTES} bytes")
    try:
        value = tomllib.loads(raw.decode("utf-8"))
        return ColumnMap.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ImportRefusedError("bad-map", f"{where}: {first['msg']}") from None
    except (ValueError, TypeError, RecursionError):
        raise ImportRefusedError("bad-map", "the column map is not TOML") from None


def read_rows(raw: bytes) -> list[Row]:
    """Return the rows of a CSV file with a head, or of a JSON list of maps.

    Raises:
        ImportRefusedError: Neither, too large, or too many rows.
    """
    if len(raw) > MAX_BYTES:
        raise ImportRefusedError("too-large", f"a source has at most {MAX_BYTES} bytes")
    if raw.lstrip()[:1] == b"[":
        value = read_json(raw)
        if not all(isinstance(row, dict) for row in value):
            raise ImportRefusedError("not-a-table", "the list holds something else than rows")
        rows: list[Row] = [{k: "" if v is None else str(v) for k, v in r.items()} for r in value]
    else:
        try:
            lines = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
            head = next(lines, [])
            # A short row keeps the cells it has: filled up to a wide head, small files grow huge.
            rows = [_named(head, cells) for cells in islice(lines, MAX_ROWS + 1) if cells]
        except (UnicodeDecodeError, csv.Error):
            raise ImportRefusedError("not-a-table", "the file is not CSV in UTF-8") from None
    if len(rows) > MAX_ROWS:
        raise ImportRefusedError("too-large", f"a table has at most {MAX_ROWS} rows")
    return rows


def import_row(row: Row, columns: ColumnMap, header: Header, *, number: int) -> Imported:
    """Return the alert made of one row; the row itself, as JSON, is the original.

    Raises:
        ImportRefusedError: A code is unknown, a cell missing, or the alert not valid.
    """
    raw = json.dumps(row, ensure_ascii=False, sort_keys=True).encode()
    found = row.get(columns.reference, "") or str(number)
    fields: dict[str, Any] = header.fields(f"{columns.prefix}/{found}"[:80])
    for each in columns.field:
        value = _value(each, row)
        if value is not None:
            _put(fields, each.to.split("."), value)
    fields["original"] = {
        "sha256": sha256(raw).hexdigest(),
        "media_type": MEDIA_TYPE,
        "bytes": len(raw),
    }
    alert = alert_of(columns.type, fields)
    left = left_out(_unmapped(row, columns), alert)
    return Imported(alert, raw, MEDIA_TYPE, left, marking_of(()))


def _named(head: list[str], cells: list[str]) -> Row:
    if any(cells[len(head) :]):
        raise ImportRefusedError("not-a-table", "a row has more cells than the head names")
    return dict(zip(head, cells, strict=False))


def _value(each: FieldMap, row: Row) -> JsonValue:
    if not each.column:
        return deepcopy(each.value)  # the next row begins with the map's own
    cell = row.get(each.column, "").strip()
    if not cell:
        if each.optional:
            return None
        raise ImportRefusedError("missing-cell", f"the column {each.column} is empty")
    if each.codes:
        if cell not in each.codes:
            raise ImportRefusedError(
                "unknown-code", f"the map has no code for a value of column {each.column}"
            )
        return each.codes[cell]
    return each.prefix + (cell[: each.cut] if each.cut else cell)


def _put(fields: dict[str, Any], path: list[str], value: JsonValue) -> None:
    """Put `value` at a dotted path, making maps and lists on the way."""
    here: Any = fields
    for step, following in zip(path, [*path[1:], ""], strict=True):
        last = following == ""
        empty: Any = value if last else [] if following.isdecimal() else {}
        if isinstance(here, list) and step.isdecimal():
            place = int(step)
            if place > len(here):
                raise ImportRefusedError("bad-map", "a list's places are filled in order")
            if place == len(here):
                here.append(empty)
            here = here[place]
        elif isinstance(here, dict):
            here = here.setdefault(step, empty)
        else:
            raise ImportRefusedError("bad-map", "a path leads through a value, or through no place")


def _unmapped(row: Row, columns: ColumnMap) -> dict[str, str]:
    """Return the cells that no field takes in another form; those are carried in that form."""
    coded = {each.column for each in columns.field if each.codes or each.cut or each.prefix}
    return {name: cell for name, cell in row.items() if name not in coded}
