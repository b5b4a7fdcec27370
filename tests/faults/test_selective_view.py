"""A hub that shows one member an old directory: what the others seal under gives it away."""

import asyncio
import json
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.run import child_trial, run_worker
from broker.hub.place import HubPlace
from broker.transport.link import Link
from keys.directory.repository import DirectoryRepository
from keys.directory.source import PublishedDirectory
from keys.home import Home
from tests.faults.test_directory import World, codes, delivered, running_world, status_when

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]


async def run_gateway(world: World, shown: Path, started: asyncio.Event) -> None:
    """A gateway worker under the directory in `shown`."""
    home = world.region.hub
    place, root = HubPlace(home), Home(home).pinned_root()
    source = PublishedDirectory(DirectoryRepository(shown, pinned_root=root), root)
    secrets = place.open_gateway(world.region.passphrase)
    decider = Decider("gateway-1", secrets.kid, secrets.key, secrets.records)
    async with Link(secrets.credentials(place, place.config(), "gateway-1")) as link:
        await link.wait_connected()
        started.set()
        directory = DirectoryInForce.read(source)
        await run_worker(link, directory, decider, trial=child_trial(home))


async def test_a_member_shown_an_old_directory_finds_out_from_its_mail(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(tmp_path / "r"))
        directory = Home(world.region.hub).directory
        old, new = directory.with_name("old"), directory.with_name("new")
        shutil.copytree(directory, old)
        world.publish("The Kingdom of Thailand")
        my = await stack.enter_async_context(world.node("MY"))
        directory.rename(new)
        old.rename(directory)  # from now on; its timestamp is signed again, as the hub can
        world.renew()
        sg = await stack.enter_async_context(world.node("SG"))
        assert sg.present.view.version.snapshot < my.present.view.version.snapshot

        started = asyncio.Event()
        loop = asyncio.get_running_loop()
        gateway = loop.create_task(run_gateway(world, new, started))
        stack.callback(gateway.cancel)
        await started.wait()
        await delivered(my, await world.queue(my, "SG"))
        status = await status_when(sg, lambda status: "directory-split" in codes(status))
        (alarm,) = [each for each in status.alarms if each.code == "directory-split"]
        named = json.loads((Path(alarm.detail) / "named.json").read_text())
        assert named["snapshot"] == my.present.view.version.snapshot
        assert named["hash"] == my.present.view.version.hash.hex()
        assert (Path(alarm.detail) / "ours.json").is_file()
