"""Every file and every row of the external records imports, validates, travels and arrives."""

import csv
import io
import re
from pathlib import Path

import pytest

from broker.envelope.delivered import Opened, open_delivered, parse_delivered
from broker.envelope.errors import EnvelopeError
from broker.envelope.submitted import deliver, parse_submitted
from broker.importers.report import Imported
from schemas.facts import derive_facts
from schemas.label import Facts
from tests.importers.records import STRIDE, misp_events, purchases, seizures, stix_bundles
from tests.support.envelopes import label_for, seal_content, signed_content
from tests.support.region import make_region

pytestmark = pytest.mark.records
REGION = make_region(("SG", "MY"))
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


def test_every_stix_bundle_arrives_and_nothing_of_it_is_lost(external: Path) -> None:
    bundles = stix_bundles(external)
    assert len(bundles) == 18
    for name, imported in bundles:
        assert [each.path for each in imported.left if not each.path.endswith("type")] == []
        arrives(imported, name)


def test_every_misp_event_arrives_and_only_its_databases_numbers_are_left(external: Path) -> None:
    events = misp_events(external)
    assert len(events) == 24
    for name, imported in events:
        assert [e.path for e in imported.left if not DISPENSABLE.fullmatch(e.path)] == []
        arrives(imported, name)


def test_every_seizure_of_the_colombian_table_arrives(external: Path) -> None:
    imported = seizures(external)
    assert len(imported) == 494
    for number, each in enumerate(imported):
        assert each.left == ()
        arrives(each, f"row {number}")


def test_every_purchase_of_the_stride_table_arrives(external: Path) -> None:
    imported = purchases(external)
    raw = (external / "data" / STRIDE).read_bytes()
    assert len(imported) == len(list(csv.DictReader(io.StringIO(raw.decode()))))
    for number, each in enumerate(imported):
        assert each.left == ()
        arrives(each, f"row {number}")
