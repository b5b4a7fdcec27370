"""The hub loses its record of decisions, or is put back from a backup, among real processes."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Submission
from broker.hub.place import HubPlace
from broker.ledger.intake import SEQUENCER
from broker.ledger.place import LedgerPlace
from broker.log.announcement import STARTED, STOPPED
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.merkle import tree_root
from broker.log.tiles import bundles_of, lookup_in
from broker.transport.link import Link
from keys.directory.source import PublishedDirectory
from schemas.desk import InboxItem, RecipientState
from tests.cli.test_ceremonies import run
from tests.faults.test_log import published, shown
from tests.support.processes import running_region, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]


async def submitted(client: Client, number: int) -> Submission:
    request = warning(number, ("MY", "VN"))
    return await client.submit(await client.prepare(request))


async def sent(client: Client, number: int) -> None:
    await (await submitted(client, number)).wait("accepted")


def leaves(place: LedgerPlace) -> list[Leaf]:
    size = published(place).size
    return [parse_leaf(raw) for tile in bundles_of(size) for raw in place.files.read(tile)]


def kinds(place: LedgerPlace) -> list[LeafKind]:
    return [leaf.signed.statement.kind for leaf in leaves(place)]


async def all_proved(clients: dict[str, Client]) -> None:
    for client in clients.values():
        while (log := await shown(client)).own_waiting or not log.own_proved:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def stop_hub(processes: Processes) -> None:
    process = processes._running.pop("hub")
    process.terminate()
    await process.wait()


def log_lines(region: DemoRegion, word: str) -> list[str]:
    text = (region.folder / "hub.log").read_text("utf-8", "replace")
    return [line for line in text.splitlines() if word in line]


async def lose_stream(region: DemoRegion) -> None:
    hub, name = HubPlace(region.hub), f"AUDIT_{clock.now().year}"
    credentials = hub.open_hub(region.passphrase).hub_credentials(hub, hub.config())
    async with Link(credentials) as link:
        await link.wait_connected()
        config = (await link.api(f"STREAM.INFO.{name}", {}))["config"]
        await link.api(f"STREAM.DELETE.{name}", {})
        await link.api(f"STREAM.CREATE.{name}", config)


async def test_after_a_loss_nothing_is_judged_until_the_operator_resumes(tmp_path: Path) -> None:
    async with (
        must_come(560, lambda: "an alarm never sounded, or an alert was not accepted"),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        place = LedgerPlace(region.hub)
        for number in range(3):
            await sent(clients["SG"], number)
        await all_proved(clients)
        before = leaves(place)
        await lose_stream(region)
        while not log_lines(region, "record-lost"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        waiting = await submitted(clients["SG"], 3)
        while not log_lines(region, "audit-unready"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        while not log_lines(region, "kentong log resume --stream-reset"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        assert leaves(place) == before
        done = await asyncio.to_thread(run, region, region.hub, "log", "resume", "--stream-reset")
        assert done.returncode == 0, done.stderr
        assert "decided again" in done.stdout
        await waiting.wait("accepted")
        await all_proved(clients)
        after = leaves(place)
        assert after[: len(before)] == before
        (reset,) = [leaf for leaf in after if leaf.signed.statement.kind is LeafKind.STREAM]
        assert reset.signed.statement.gateway == SEQUENCER
        again = await asyncio.to_thread(run, region, region.hub, "log", "resume", "--stream-reset")
        assert again.returncode != 0
        await stop_hub(processes)
        said = [leaf.signed.statement for leaf in leaves(place)]
        told = [each.c_body for each in said if each.kind is LeafKind.GATEWAY]
        assert STARTED in told
        snapshot = PublishedDirectory.at(region.hub).view().version.hash
        assert snapshot in {each.snapshot for each in said if each.kind is LeafKind.DIRECTORY}
        await processes.start_hub()
        while kinds(place).count(LeafKind.GATEWAY) < len(told) + 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        ends = [leaf.signed.statement.c_body for leaf in leaves(place)]
        assert ends.count(STOPPED) == 1
        assert ends.count(STARTED) == 2
        outcomes = await asyncio.to_thread(verified, region, tmp_path)
        assert outcomes["counters"] == outcomes["gateway signatures"] == "PASS"
        assert "FAIL" not in outcomes.values()


ANSWERS = {"RECEIPT_SG": "SG", "INBOX_SG_control": "control"}


async def at_hub(region: DemoRegion, *asked: str) -> None:
    """Ask these of the hub's server, on the hub's own account."""
    hub = HubPlace(region.hub)
    credentials = hub.open_hub(region.passphrase).hub_credentials(hub, hub.config())
    async with Link(credentials) as link:
        await link.wait_connected()
        for each in asked:
            await link.api(each, {})


async def test_what_was_delivered_before_a_loss_is_in_no_inbox_twice(tmp_path: Path) -> None:
    """Its sender heard neither receipt nor answer, and its id is refused: so it is sealed anew."""
    async with (
        must_come(560, lambda: "an alert never came, or no answer"),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        place = LedgerPlace(region.hub)
        await sent(clients["SG"], 1)
        await all_proved(clients)
        unheard = (f"CONSUMER.DELETE.{name}.{own}" for name, own in ANSWERS.items())
        await at_hub(region, *unheard)  # until the hub starts again, which makes them
        decided = kinds(place).count(LeafKind.DECISION)
        waiting = await submitted(clients["SG"], 2)
        for member in ("MY", "VN"):
            while len(await inbox(clients[member])) < 2:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        with_answers = decided + 3
        while kinds(place).count(LeafKind.DECISION) < with_answers:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        await lose_stream(region)
        await at_hub(region, *(f"STREAM.PURGE.{name}" for name in ANSWERS))
        await stop_hub(processes)
        await processes.start_hub()
        done = await asyncio.to_thread(run, region, region.hub, "log", "resume", "--stream-reset")
        assert done.returncode == 0, done.stderr
        await waiting.wait("delivered")
        for member in ("MY", "VN"):
            items = await inbox(clients[member])
            assert len({item.alert_id for item in items}) == len(items) == 2
            assert waiting.shown.id not in {item.id for item in items}  # it came under another
        assert {each.state for each in waiting.shown.recipients} == {RecipientState.DELIVERED}
        await sent(clients["SG"], 3)
        await all_proved(clients)


async def inbox(client: Client) -> list[InboxItem]:
    return list((await client.inbox()).items)


def signed(place: LedgerPlace) -> int:
    """How many leaves the signer has signed."""
    state = json.loads((place.folder / "signer" / "signer.json").read_text())
    size: int = state["tree"]["size"]
    return size


def verified(region: DemoRegion, folder: Path) -> dict[str, str]:
    """What an auditor with the log's own keys is told."""
    bundle, policy, gateways = folder / "log.tar", folder / "policy", folder / "gateways"
    assert run(region, region.hub, "audit", "export", str(bundle)).returncode == 0
    gateways.write_text(run(region, region.hub, "log", "keys").stdout)
    vkeys = LedgerPlace(region.hub).vkeys_file.read_text().splitlines()
    policy.write_text("".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n")
    words = ("audit", "verify", str(bundle), "--policy", str(policy), "--gateways", str(gateways))
    done = run(region, folder / "nowhere", *words, "--json")
    return {each["check"]: each["outcome"] for each in json.loads(done.stdout)["checks"]}


@pytest.mark.parametrize("made", ["right after log init", "an hour ago"])
async def test_a_hub_put_back_from_a_backup_signs_no_second_history(
    tmp_path: Path, made: str
) -> None:
    backup, empty = tmp_path / "backup", made == "right after log init"

    def put_aside(region: DemoRegion) -> None:
        if empty:
            shutil.copytree(region.hub, backup)

    async with (
        must_come(560, lambda: "an alarm never sounded, or not all is proved"),
        running_region(tmp_path / "r", log=True, prepare=put_aside) as (
            region,
            processes,
            clients,
        ),
    ):
        place = LedgerPlace(region.hub)
        await sent(clients["SG"], 1)
        await all_proved(clients)
        if not empty:
            await stop_hub(processes)
            shutil.copytree(region.hub, backup, ignore=shutil.ignore_patterns("*socket*"))
            await processes.start_hub()
        for number in (2, 3):
            await sent(clients["SG"], number)
        await all_proved(clients)
        newest = published(place)
        await stop_hub(processes)
        shutil.rmtree(region.hub)
        shutil.copytree(backup, region.hub, ignore=shutil.ignore_patterns("*socket*"))
        await processes.start_hub()
        while not log_lines(region, "witness-ahead"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        await sent(clients["SG"], 4)  # traffic goes on
        while not log_lines(region, "log-restored"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        await all_proved(clients)
        again = published(place)  # what was signed, and behind it what came since
        assert again.size > newest.size
        assert tree_root(newest.size, lookup_in(place.files.read, again.size)) == newest.root
        assert signed(place) >= again.size
        for client in clients.values():
            assert (await shown(client)).proven > newest.size
            codes = {alarm.code for alarm in (await client.node_status()).alarms}
            assert not codes & {"log-fork", "log-broken", "log-inconsistent"}
