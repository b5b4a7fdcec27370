"""Every file and every row of the external records imports, validates, travels and arrives."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from broker.envelope.delivered import Opened, open_delivered, parse_delivered
from broker.envelope.errors import EnvelopeError
from broker.envelope.submitted import deliver, parse_submitted
from broker.importers.header import Header
from broker.importers.misp import import_misp
from broker.importers.report import Imported
from broker.importers.stix import import_stix
from broker.importers.table import ColumnMap, import_row, read_map, read_rows
from schemas.facts import derive_facts
from schemas.label import Facts
from tests.support.envelopes import label_for, seal_content, signed_content
from tests.support.region import make_region

pytestmark = pytest.mark.records
REGION = make_region(("SG", "MY"))
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
TOO_LARGE: frozenset[str] = frozenset()
"""Documents of which only the hash travels, because the content would not fit an envelope."""

# What MISP's own database and screens need, and no investigator: local row numbers, colours, who
# synchronised what, and the text of galaxies (their clusters are carried).
DISPENSABLE = re.compile(
    r".*\.(id|event_id|object_id|referenced_id|galaxy_id|tag_id|colour|exportable|local|icon"
    r"|namespace|version|collection_uuid|event_creator_email|attribute_count)"
    r"|.*\.Galaxy\.\*\.(name|type|uuid|description|kill_chain_order\..*)"
    r"|.*\.GalaxyCluster\.\*\.(type|uuid)"
    r"|.*\.(Org|Orgc)\.uuid|.*\.RelatedEvent\..*"
)


def travel(imported: Imported, *, with_original: bool) -> Opened:
    """Seal for MY, let the gateway's copy be opened there."""
    alert = imported.alert
    facts = derive_facts(
        alert,
        has_original=with_original,
        has_attachments=False,
        reviewed_no_personal_data=False,
    )
    label = label_for(REGION, alert, facts=Facts(**facts.model_dump()))
    original = imported.original if with_original else None
    content, audience = signed_content(REGION, label, alert, ["MY"], original=original)
    sealed = seal_content(REGION, label, content, audience)
    return open_delivered(
        parse_delivered(deliver(parse_submitted(sealed.raw), "MY")),
        member="MY",
        open_keys=REGION.members["MY"].open_keys,
        view=REGION.view,
        at=REGION.now,
    )


def arrives(imported: Imported, name: str) -> None:
    try:
        opened = travel(imported, with_original=True)
    except EnvelopeError:
        assert name in TOO_LARGE
        opened = travel(imported, with_original=False)
        assert opened.content.original is None
    else:
        assert name not in TOO_LARGE
        assert opened.content.original == imported.original
    assert opened.alert == imported.alert


def files(external: Path, pattern: str) -> list[Path]:
    found = sorted((external / "data").glob(pattern))
    assert found
    return found


def test_every_stix_bundle_arrives_and_nothing_of_it_is_lost(external: Path) -> None:
    bundles = files(external, "cyber-stix2*/*.json")
    assert len(bundles) == 18
    for path in bundles:
        imported = import_stix(path.read_bytes(), HEADER)
        assert [each.path for each in imported.left if not each.path.endswith("type")] == []
        arrives(imported, path.name)


def test_every_misp_event_arrives_and_only_its_databases_numbers_are_left(external: Path) -> None:
    events = files(external, "cyber-misp-eset/*.json")
    assert len(events) == 24
    for path in events:
        imported = import_misp(path.read_bytes(), HEADER)
        assert [e.path for e in imported.left if not DISPENSABLE.fullmatch(e.path)] == []
        arrives(imported, path.name)


MAPS = Path(__file__).parent / "maps"


def rows_of(raw: bytes, columns: ColumnMap) -> Iterator[Imported]:
    for number, row in enumerate(read_rows(raw), 1):
        yield import_row(row, columns, SPANISH, number=number)


def test_every_seizure_of_the_colombian_table_arrives(external: Path) -> None:
    raw = (external / "data/drugs-colombia-2018/incautaciones.json").read_bytes()
    imported = list(rows_of(raw, read_map((MAPS / "colombia.toml").read_bytes())))
    assert len(imported) == 494
    for number, each in enumerate(imported):
        assert each.left == ()
        arrives(each, f"row {number}")


def test_every_purchase_of_the_stride_table_arrives(external: Path) -> None:
    raw = (external / "data/drugs-stride-2007/cocaine.csv").read_bytes()
    imported = list(rows_of(raw, read_map((MAPS / "stride.toml").read_bytes())))
    assert len(imported) == len(list(csv.DictReader(io.StringIO(raw.decode()))))
    for number, each in enumerate(imported):
        assert each.left == ()
        arrives(each, f"row {number}")
