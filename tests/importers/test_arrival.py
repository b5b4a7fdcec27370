"""The external records over a running hub: from one state's node through the gateway to another's.

Every document; of the rows a share in CI, and all of them on the soak (`make soak`).
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker import clock
from broker.importers.report import Imported
from broker.node.node import Node
from schemas.desk import OriginalDocument, RecipientState
from schemas.registry import model_for
from tests.importers.records import misp_events, purchases, seizures, stix_bundles
from tests.support.gateway import running_gateway
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import request, running_node, send, until_over
from tests.support.region import make_region

pytestmark = [pytest.mark.records, pytest.mark.hub, pytest.mark.soak, pytest.mark.timeout(1200)]
ROWS = int(os.environ.get("KENTONG_SOAK_ROWS", "40"))  # noqa: TID251 - a test setting
WINDOW = 16  # alerts under way at one time


async def arrives(hub: RunningHub, sg: Node, my: Node, name: str, imported: Imported) -> None:
    """Send one record from SG and fail unless MY holds just that."""
    original = OriginalDocument(content=imported.original, media_type=imported.media_type)
    asked = request(hub.region, ("MY",), alert=imported.alert, original=original)
    last = await until_over(sg, (await send(sg, hub.region, asked)).submission_id)
    outcome = last.recipients[0]
    assert outcome.state is RecipientState.DELIVERED, (name, outcome.code)
    assert last.id is not None
    item = await my.item(last.id)
    assert item.alert is not None
    assert item.alert == asked.alert.body, name
    model = model_for(item.type, item.type_version)
    assert model.model_validate_json(json.dumps(item.alert)) == imported.alert, name
    assert await my.original(last.id) == original, name


def spread(rows: Sequence[Imported], count: int) -> list[Imported]:
    """At most `count` rows, evenly from all of them."""
    return list(rows[:: max(1, len(rows) // count)])


async def test_every_record_travels_through_hub_gateway_and_nodes(
    external: Path, tmp_path: Path
) -> None:
    records = [*stix_bundles(external), *misp_events(external)]
    assert len(records) == 42
    for name, rows in (("seizure", seizures(external)), ("purchase", purchases(external))):
        records += [(f"{name} {number}", row) for number, row in enumerate(spread(rows, ROWS // 2))]
    region = make_region(("SG", "MY"), now=clock.now())
    room = asyncio.Semaphore(WINDOW)
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub),
        running_node(hub, "SG", tmp_path) as sg,
        running_node(hub, "MY", tmp_path) as my,
    ):

        async def one(name: str, imported: Imported) -> None:
            async with room:
                await arrives(hub, sg, my, name, imported)

        async with asyncio.TaskGroup() as group:
            for name, imported in records:
                group.create_task(one(name, imported))
        assert (await my.status()).inbox == len(records)
