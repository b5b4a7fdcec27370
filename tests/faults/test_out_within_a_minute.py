"""Who is revoked is out within a minute: measured from the end of `directory publish`.

Real processes with their real intervals; ceremonies by command, each on its member's machine.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import DemoRegion, officer_of
from broker.client import Client
from broker.errors import BrokerError
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from keys.home import Home
from keys.identity import MemberIdentity
from tests.support.commands import Machine
from tests.support.processes import running_region, warning
from tests.support.waiting import must_come

pytestmark = [
    pytest.mark.processes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.slow,
]
MINUTE_S = 60.0
ANSWER_S = 10.0  # for what the hub decides at once


@dataclass
class Scene:
    """A region at work, and where its changes are written."""

    region: DemoRegion
    desks: dict[str, Client]
    out: Path
    sent: int = 0

    def machine(self, code: str) -> Machine:
        """A ministry's machine, with the directory as the hub publishes it."""
        folder = self.region.folder / f"ministry-{code}"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            for name in ("member", "region", "officers"):
                (folder / name).symlink_to(self.region.home(code) / name)
            (folder / "node").symlink_to(self.region.home(code) / "node")
            (folder / "hub").symlink_to(self.region.hub / "hub")
        return Machine(folder, self.region.passphrase_file)

    async def publish(self, name: str) -> float:
        """Publish a change at the hub; return the moment at which that was done."""
        hub = Machine(self.region.hub, self.region.passphrase_file)
        await asyncio.to_thread(hub.good, "directory", "publish", str(self.out / name))
        return time.monotonic()

    async def says(self, code: str, to: str) -> str:
        """Why an alert of `code` is not accepted; empty if it is."""
        self.sent += 1
        try:
            sent = await self.desks[code].send(warning(self.sent, (to,)))
            await sent.wait("accepted", timeout_s=ANSWER_S)
        except BrokerError as error:
            return error.code
        return ""

    async def refused(self, code: str, to: str) -> str:
        """Send until it is refused; return why."""
        while not (why := await self.says(code, to)):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.5)
        return why


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("o")
    async with running_region(folder / "k", log=True) as (region, _, desks):
        yield Scene(region, desks, folder)


async def test_a_revoked_officers_alerts_are_refused(scene: Scene) -> None:
    officer, out = officer_of("MY"), str(scene.out / "officer.json")
    assert await scene.says("MY", "SG") == ""
    asked = ("member", "revoke", "MY", "--officer", officer, "--reason", "lost", "--out", out)
    await asyncio.to_thread(scene.machine("MY").good, *asked)
    published = await scene.publish("officer.json")
    async with must_come(MINUTE_S, lambda: "nothing of the revoked officer was refused"):
        why = await scene.refused("MY", "SG")
    print(f"officer refused ({why}) after {time.monotonic() - published:.1f} s")  # noqa: T201
    assert why == "officer-revoked"
    assert await scene.says("MY", "SG") == "officer-revoked"


async def test_a_revoked_nodes_submissions_are_refused(scene: Scene) -> None:
    machine, out = scene.machine("SG"), str(scene.out / "key.json")
    listed = json.loads(await asyncio.to_thread(machine.good, "keys", "list", "--json"))["keys"]
    (kid,) = [key["kid"] for key in listed if key["use"] == "sign"]
    assert await scene.says("SG", "VN") == ""
    asked = ("member", "revoke", "SG", "--key", kid, "--reason", "compromised", "--out", out)
    await asyncio.to_thread(machine.good, *asked)
    published = await scene.publish("key.json")
    async with must_come(MINUTE_S, lambda: "nothing of the revoked node was refused"):
        why = await scene.refused("SG", "VN")
    print(f"node refused ({why}) after {time.monotonic() - published:.1f} s")  # noqa: T201
    # The gateway refuses it, or its own node, which has heard of it, seals nothing any more.
    assert why in {"key-revoked", "none-accepted", "undecided"}
    assert await scene.says("SG", "VN") != ""


async def test_a_suspended_nodes_connection_drops_and_nothing_of_it_goes_out(scene: Scene) -> None:
    desk, out = scene.desks["VN"], str(scene.out / "suspend.json")
    assert (await desk.node_status()).connected
    hub = Machine(scene.region.hub, scene.region.passphrase_file)
    await asyncio.to_thread(hub.good, "directory", "propose", "--suspend", "VN", "--out", out)
    for code in ("SG", "MY"):
        asked = ("directory", "sign", out, "--member", code, "--yes")
        await asyncio.to_thread(scene.machine(code).good, *asked)
    published = await scene.publish("suspend.json")
    async with must_come(MINUTE_S, lambda: "the suspended node is still connected"):
        while (await desk.node_status()).connected:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    print(f"connection dropped after {time.monotonic() - published:.1f} s")  # noqa: T201
    waiting = await desk.send(warning(99, ("MY",)))
    with pytest.raises(BrokerError):
        await waiting.wait("accepted", timeout_s=ANSWER_S)
    assert not (await desk.node_status()).connected
    # Nor does who has all its keys get in by himself, and so nothing can be submitted.
    place = NodePlace(scene.region.home("VN"))
    identity = MemberIdentity.load(Home(place.home).node_keys, scene.region.passphrase)
    async with Link(place.credentials(place.config(), identity)) as thief:
        with pytest.raises(Unreachable):
            await thief.wait_connected(5)
