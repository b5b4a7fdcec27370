"""A running node's witness over HTTP, switched on by a line in its settings."""

import asyncio
from pathlib import Path

import httpx
import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import ORIGIN, DemoRegion, _free_port
from broker.ledger.place import LedgerPlace
from broker.log.note import parse_note
from broker.log.regional import regional_policy
from broker.log.witness import WitnessRequest
from keys.directory.source import PublishedDirectory
from keys.primitives.hashing import sha256
from tests.faults.test_log import send
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(180)]


def with_witness_port(region: DemoRegion) -> None:
    place = NodePlace(region.home("SG"))
    config = place.config().model_copy(update={"witness_port": _free_port()})
    place.write(config, place.authority_pem())


async def test_anybody_reads_and_asks_a_running_witness(tmp_path: Path) -> None:
    async with (
        must_come(170, lambda: "the witness showed no checkpoint"),
        running_region(tmp_path / "r", log=True, prepare=with_witness_port) as (
            region,
            _,
            clients,
        ),
    ):
        port = NodePlace(region.home("SG")).config().witness_port
        await send(clients["SG"], 1)
        newest = f"/{sha256(ORIGIN.encode()).hex()}/checkpoint"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while (shown := await client.get(newest)).status_code in {404, 503}:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)  # strangers together may ask five times a second
            policy = regional_policy(PublishedDirectory.at(region.hub).view(), at=clock.now())
            signed = policy.verify_log(shown.content)
            assert set(signed.cosigned) == {b"SG"}
            note = parse_note(LedgerPlace(region.hub).files.checkpoint() or b"")
            asked = WitnessRequest(0, (), note).to_bytes()
            told = await client.post("/add-checkpoint", content=asked)
            assert (told.status_code, told.headers["content-type"]) == (409, "text/x.tlog.size")
            assert int(told.text) >= signed.checkpoint.size
            assert (await client.get("/v1/status")).status_code == 404  # of the node, nothing
