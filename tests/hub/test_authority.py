"""The hub's TLS authority is replaced at work: nodes that believe both follow."""

import asyncio
from pathlib import Path

import pytest

from broker.cli.demo.story import desks
from broker.client import Client
from broker.hub.place import HubPlace
from keys.directory.source import PublishedDirectory
from tests.support.commands import Machine
from tests.support.processes import running_region, warning
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(480), pytest.mark.slow]
BOUND_S = 60.0


def add(node: Path, certificate: bytes) -> None:
    """What a ministry does: believe one more authority."""
    file = node / "node" / "hub-ca.pem"
    file.write_bytes(file.read_bytes() + certificate)


async def until_connected(client: Client, *, wanted: bool) -> None:
    async def met() -> bool:
        return (await client.node_status()).connected is wanted

    await until(met, BOUND_S, lambda: f"never was connected={wanted}")


async def test_the_hub_changes_its_authority_and_nodes_follow(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("a")
    async with running_region(folder / "k", nodes=("SG", "MY")) as (region, processes, clients):
        hub, out = Machine(region.hub, region.passphrase_file), str(folder / "authority.json")
        place = HubPlace(region.hub)
        old = place.authority_file.read_bytes()
        rekey = ("hub", "rekey", "--authority", "--out")
        await asyncio.to_thread(hub.good, *rekey, out)
        other = str(folder / "other.json")
        assert (await asyncio.to_thread(hub.refused, *rekey, other))[0] == "exists"
        out = str(folder / "authority-again.json")
        await asyncio.to_thread(hub.good, *rekey, out, "--again")
        for code in ("SG", "MY", "TH"):
            signer = Machine(region.home(code), region.passphrase_file)
            await asyncio.to_thread(
                signer.good, "directory", "sign", out, "--member", code, "--yes"
            )
        certificate = place.next_authority_file.read_bytes()
        add(region.home("SG"), certificate)
        await processes.kill("SG")
        await processes.start_node("SG")  # it believes both, and reaches the hub as it is
        sent = await clients["MY"].send(warning(1, ("SG",)))
        await sent.wait("delivered", timeout_s=BOUND_S)

        assert "restart" in await asyncio.to_thread(hub.good, "directory", "publish", out)
        assert place.authority_file.read_bytes() == certificate != old
        assert not place.next_authority_file.exists()
        assert PublishedDirectory.at(region.hub).view().hub.tls_ca_pem.encode() == certificate
        await processes.kill("hub")
        for code in ("SG", "MY"):
            await until_connected(clients[code], wanted=False)
        await processes.start_hub()
        await until_connected(clients["SG"], wanted=True)
        assert not (await clients["MY"].node_status()).connected  # it did not add the new one

        add(region.home("MY"), certificate)
        await processes.kill("MY")
        await processes.start_node("MY")
        async with desks(region) as again:
            sent = await again["SG"].send(warning(2, ("MY",)))
            await sent.wait("delivered", timeout_s=BOUND_S)
