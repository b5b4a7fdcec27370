"""The hub's operator, accounts and users are replaced: streams go over, members notice nothing."""

import asyncio

import pytest

from broker import clock
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.cli.demo.story import desks
from broker.hub.broker_keys import broker_keys_wait, take_up_broker_keys
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.transport.accounts import public_nkey
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from keys.directory.source import PublishedDirectory
from schemas.desk import RecipientState
from tests.faults.test_log import published, shown
from tests.support.commands import Machine
from tests.support.processes import running_region, warning

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600), pytest.mark.slow]
BOUND_S = 120.0
THRESHOLD = ("SG", "MY", "TH")


async def put_in_force(region: DemoRegion, out: str, *words: str) -> None:
    """Make other broker keys, let the threshold sign them, and publish them."""
    hub = Machine(region.hub, region.passphrase_file)
    await asyncio.to_thread(hub.good, "hub", "rekey", "--broker", "--out", out, *words)
    for code in THRESHOLD:
        ministry = Machine(region.home(code), region.passphrase_file)
        sign = ("directory", "sign", out, "--member", code, "--yes")
        await asyncio.to_thread(ministry.good, *sign)
    assert "restart" in await asyncio.to_thread(hub.good, "directory", "publish", out)


async def test_the_hub_changes_its_broker_keys_and_members_go_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("b")
    async with (
        asyncio.timeout(560),
        running_region(folder / "k", log=True) as (region, processes, clients),
    ):
        hub, place = Machine(region.hub, region.passphrase_file), HubPlace(region.hub)
        before, config = place.open_hub(region.passphrase), place.config()
        first = await clients["SG"].send(warning(1, ("MY",)))
        await first.wait("delivered", timeout_s=BOUND_S)
        await processes.kill("MY")
        waiting = await clients["SG"].send(warning(2, ("MY",)))  # lies at the hub meanwhile
        await waiting.wait("accepted", timeout_s=BOUND_S)

        rekey = ("hub", "rekey", "--broker", "--out")
        await asyncio.to_thread(hub.good, *rekey, str(folder / "first.json"))
        other = str(folder / "other.json")
        assert (await asyncio.to_thread(hub.refused, *rekey, other))[0] == "exists"
        await put_in_force(region, str(folder / "second.json"), "--again")
        third = await clients["SG"].send(warning(3, ("VN",)))  # until then all goes on as it was
        await third.wait("delivered", timeout_s=BOUND_S)
        await processes.kill("hub")
        await processes.start_hub()

        document = PublishedDirectory.at(region.hub).view().hub
        while broker_keys_wait(place, region.passphrase, document):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        after = place.open_hub(region.passphrase)
        assert after.keys.account.public.raw == document.account_key
        assert after.keys.operator.public.raw == document.operator_key
        olds = {key.public.raw for key in vars(before.keys).values()}
        assert olds.isdisjoint(key.public.raw for key in vars(after.keys).values())
        stores = place.server(config).store / "jetstream"
        owners = {path.name for path in stores.iterdir()}
        assert public_nkey("account", before.keys.account.public.raw) not in owners
        assert not await asyncio.to_thread(
            take_up_broker_keys, place, config, region.passphrase, document, now=clock.now()
        )

        await processes.start_node("MY")
        async with desks(region) as again:
            while {each.state for each in (await again["SG"].status(waiting.id)).recipients} != {  # noqa: ASYNC110 - another process
                RecipientState.DELIVERED
            }:
                await asyncio.sleep(0.1)
            last = await again["MY"].send(warning(4, ("SG", "VN")))
            await last.wait("delivered", timeout_s=BOUND_S)
            size = published(LedgerPlace(region.hub)).size
            while (log := await shown(again["MY"])).own_waiting or not log.own_proved:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            assert size
            for client in again.values():
                codes = {alarm.code for alarm in (await client.node_status()).alarms}
                assert not codes & {"stream-went-back", "log-stalled", "log-not-proven"}
        async with Link(before.hub_credentials(place, config)) as thief:
            with pytest.raises(Unreachable):
                await thief.wait_connected(5.0)


async def test_log_and_gateway_that_run_by_themselves_go_on_under_the_new_broker_keys(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As the shipped units start them: they open their key stores before the hub signs anew."""
    folder = tmp_path_factory.mktemp("b")
    async with (
        asyncio.timeout(560),
        running_region(folder / "k", log=True) as (region, processes, clients),
    ):
        hub, beside = region.hub, ("log", "gateway")
        await put_in_force(region, str(folder / "rekey.json"))
        await ended(processes, "hub")
        await processes._start("log", hub, "log", "run")
        await processes._start("gateway", hub, "gateway", "run", "--worker", "101")
        for name in beside:
            await said(region, name, "connect-failed")
        await processes._start("hub", hub, "hub", "run", "--no-log", "--gateways", "0")
        await processes._until_ready("hub", hub / "hub" / "state.json")

        alert = await clients["SG"].send(warning(1, ("MY", "VN")))
        await alert.wait("delivered", timeout_s=BOUND_S)
        while (log := await shown(clients["MY"])).own_waiting or not log.own_proved:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        for name in beside:  # the same process, never started again
            assert processes._running[name].returncode is None


async def ended(processes: Processes, name: str) -> None:
    """End a process politely, its children with it."""
    process = processes._running.pop(name)
    process.terminate()
    await process.wait()


async def said(region: DemoRegion, name: str, event: str) -> None:
    """Return once a process has written `event` into its log."""
    log = region.folder / f"{name}.log"
    while event not in log.read_text("utf-8"):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
