"""The external records, imported: what the tests of arrival share."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from broker.importers.header import Header
from broker.importers.misp import import_misp
from broker.importers.report import Imported
from broker.importers.stix import import_stix
from broker.importers.table import import_row, read_map, read_rows

HEADER = Header(
    as_of=date(2026, 11, 24),
    contact={"function": "Duty officer", "phones": ["+6565550100"]},
    legal_basis=({"instrument": "aseanapol"},),
    offences=({"iccs": "iccs:0903"},),
)
SPANISH = Header(
    as_of=date(2026, 11, 24),
    contact=HEADER.contact,
    legal_basis=({"instrument": "un-1988"},),
    offences=({"iccs": "iccs:0601"},),
    language="es",
)
COLOMBIA = Path("drugs-colombia-2018/incautaciones.json")
STRIDE = Path("drugs-stride-2007/cocaine.csv")
_MAPS = Path(__file__).parent / "maps"


def stix_bundles(external: Path) -> list[tuple[str, Imported]]:
    return _documents(external, "cyber-stix2*/*.json", import_stix)


def misp_events(external: Path) -> list[tuple[str, Imported]]:
    return _documents(external, "cyber-misp-eset/*.json", import_misp)


def seizures(external: Path) -> list[Imported]:
    return _rows(external / "data" / COLOMBIA, _MAPS / "colombia.toml")


def purchases(external: Path) -> list[Imported]:
    return _rows(external / "data" / STRIDE, _MAPS / "stride.toml")


def _documents(
    external: Path, pattern: str, read: Callable[[bytes, Header], Imported]
) -> list[tuple[str, Imported]]:
    found = sorted((external / "data").glob(pattern))
    assert found
    return [(path.name, read(path.read_bytes(), HEADER)) for path in found]


def _rows(table: Path, columns: Path) -> list[Imported]:
    known = read_map(columns.read_bytes())
    rows = enumerate(read_rows(table.read_bytes()), 1)
    return [import_row(row, known, SPANISH, number=number) for number, row in rows]
