"""The care of three servers: renewed one by one, lost, put under another authority, watched."""

import asyncio
import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from broker import clock
from broker.cli.demo.region import found
from broker.gateway.audit_watch import AuditWatch
from broker.gateway.boots import Boots, read_runs
from broker.gateway.decide import Decider
from broker.gateway.record import AuditTrail
from broker.hub.erased import Erasures
from broker.hub.founding import config_toml
from broker.hub.measures import HubMeasures
from broker.hub.memory import StreamMemory
from broker.hub.place import HubPlace
from broker.hub.pulse import Pulse
from broker.hub.queuewatch import QueueWatch
from broker.hub.rekeying import (
    shut_out_gateway_user,
    take_up_authority,
    with_next_authority,
)
from broker.hub.serverwatch import look_at_servers
from broker.hub.unread import UnreadSweep
from broker.transport.errors import TransportError, Unreachable
from broker.transport.greeting import shown_until
from broker.transport.link import Link
from broker.transport.message import EXPIRES_HEADER
from broker.transport.server import Server
from broker.transport.streamstates import stream_states, streams_seen
from keys.directory.source import PublishedDirectory
from keys.primitives.certificates import expires_at, issue_server, make_ca
from tests.support.cluster import (
    BOUND_S,
    NODES,
    SERVERS,
    Servers,
    linked_servers,
    running_servers,
    steady,
    whole,
)
from tests.support.commands import Machine
from tests.support.hub import nothing_read

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.slow]
STREAM = "SUBMIT_MY"


async def renewed(cluster: Servers, *options: str) -> None:
    """What the secretariat does: every server's files anew."""
    machine = Machine(cluster.region.hub, cluster.region.passphrase_file)
    await asyncio.to_thread(machine.good, "hub", "server-config", *options)


async def stored(member: Link, number: int) -> None:
    """What a member hands in is kept."""
    subject = f"submit.MY.normal.{number}"
    await steady(lambda: member.publish_acked(subject, b"x", msg_id=subject))


@pytest.mark.soak
async def test_a_renewed_server_takes_nobodys_services_away(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(tmp_path / "r") as (cluster, system, hub),
        Link(cluster.member_at("MY", "hub-3")) as member,
    ):
        await whole(hub, STREAM)
        await stored(member, 1)
        before = (cluster.folder("hub-2") / "server.pem").read_bytes()
        await renewed(cluster)
        await cluster.restart("hub-2")
        assert (cluster.folder("hub-2") / "server.pem").read_bytes() != before
        await whole(hub, STREAM)
        assert system.generation == member.generation == 1  # nobody came anew and said it again
        for number in (2, 3):
            await stored(member, number)
        async with Link(cluster.member_at("SG", "hub-2")) as other:
            await other.wait_connected(BOUND_S)
            await steady(lambda: other.publish_acked("submit.SG.normal.1", b"x", msg_id="1"))


@pytest.mark.soak
async def test_a_lost_server_comes_back_with_nothing_and_is_filled_by_the_others(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(BOUND_S * 2), running_servers(tmp_path / "r") as cluster:
        async with (
            Link(cluster.system_at("hub-1")) as system,
            Link(cluster.hub_at("hub-1")) as hub,
            Link(cluster.member_at("MY", "hub-1")) as member,
        ):
            await cluster.enrolled(system, hub)
            await whole(hub, STREAM)
            await stored(member, 1)
            await cluster.running["hub-3"].stop(kill=True)
            pulse = Pulse()
            await look_at_servers(cluster.place, cluster.config, pulse)
            assert {name: seen.up for name, seen in pulse.servers.items()} == {
                "hub-1": True,
                "hub-2": True,
                "hub-3": False,
            }
            await stored(member, 2)
            while STREAM not in await behind(hub):  # noqa: ASYNC110 - the others notice it
                await asyncio.sleep(0.2)
            shutil.rmtree(cluster.folder("hub-3"))  # its machine
            await renewed(cluster)
            await carried(cluster, "hub-3", tmp_path / "another-machine")
            await cluster.running["hub-3"].start()
            info = await whole(hub, STREAM)
            assert info["state"]["messages"] == 2
            while await behind(hub):  # noqa: ASYNC110 - as whoever restarts the next one waits
                await asyncio.sleep(0.2)
        for name in ("hub-1", "hub-2"):  # the one that came back decides with the last one left
            other = "hub-2" if name == "hub-1" else "hub-1"
            await cluster.running[other].stop()
            async with Link(cluster.hub_at("hub-3")) as hub:
                found = await steady(lambda link=hub: link.api(f"STREAM.INFO.{STREAM}", {}))
                assert found["state"]["messages"] == 2
            await cluster.running[other].start()
            async with Link(cluster.hub_at("hub-3")) as hub:
                await whole(hub, STREAM)


@pytest.mark.soak
async def test_no_stream_is_taken_for_gone_while_a_server_is(tmp_path: Path) -> None:
    """A server that died led some of them: for a while nobody speaks for those."""
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(tmp_path / "r") as (cluster, system, hub),
    ):
        await asked_of(system, "hub-1")
        streams = (await steady(lambda: stream_states(hub))).keys()
        await led_by(hub, "hub-3", max(name for name in streams if name.startswith("AUDIT_")))
        watch = AuditWatch(hub, lambda: bytes(32))
        await watch.look()
        await cluster.running["hub-3"].stop(kill=True)
        unanswered = answered = 0
        while not (unanswered and answered):
            try:
                assert (await stream_states(hub)).keys() == streams
                answered += bool(unanswered)
                await watch.look()
            except Unreachable:
                unanswered += 1
            assert watch.may_judge


@pytest.mark.soak
async def test_a_stream_for_which_nobody_speaks_hinders_no_other(tmp_path: Path) -> None:
    """An inbox and last year's decisions that only a dead server held: the hub and a worker."""
    inbox, decisions = "INBOX_SG_normal", f"AUDIT_{clock.now().year - 1}"
    silent, purged, sender = {inbox, decisions}, "SUBMIT_SG", "HELD_MY_SG"
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(tmp_path / "r") as (cluster, system, hub),
    ):
        await asked_of(system, "hub-1")
        for name in silent:
            await held_by(hub, "hub-3", name)
        for subject in ("submit.SG.normal.1", "deliver.MY.normal.1", "held.MY.SG.normal.1"):
            ends = {EXPIRES_HEADER: "1"}
            await steady(
                lambda subject=subject, ends=ends: hub.publish_acked(
                    subject, b"x", msg_id=subject, headers=ends
                )
            )
        before = await steady(lambda: stream_states(hub))
        memory = StreamMemory().seen(before, now=clock.now())
        gateway = cluster.place.open_gateway(cluster.region.passphrase)
        decider = Decider("gw-1", gateway.kid, gateway.key, gateway.records)
        boots = Boots(tmp_path / "runs" / "gw-1.json", hub, decider, AuditTrail(hub))
        await steady(boots.begin)
        await cluster.running["hub-3"].stop(kill=True)
        while (  # noqa: ASYNC110 - the others notice it
            seen := await steady(lambda: streams_seen(hub))
        ).silent != silent:
            await asyncio.sleep(0.2)
        with pytest.raises(Unreachable):
            await stream_states(hub)
        assert seen.states.keys() == before.keys() - silent
        assert seen.states[sender].messages == 1
        after = memory.seen(seen.states, now=clock.now(), silent=seen.silent)
        assert after.went_back == ()
        assert {name: after.streams[name] for name in silent} == {
            name: memory.streams[name] for name in silent
        }
        await boots._tick()  # this worker is heard
        (run,) = read_runs(boots.path)
        assert run.after.keys() == {name for name in before if name.startswith("AUDIT_")}
        assert boots._ticks[-1][1].keys() == run.after.keys()
        watch = QueueWatch(hub, Erasures)
        while await purged_again(hub, watch, purged) != (purged,):
            pass  # until those whose leader died have another
        assert await UnreadSweep(hub, nothing_read).sweep(clock.now()) == 2
        await cluster.running["hub-3"].start()
        while (  # noqa: ASYNC110 - as above
            seen := await steady(lambda: streams_seen(hub))
        ).silent:
            await asyncio.sleep(0.2)
        assert after.seen(seen.states, now=clock.now()).went_back == ()


async def purged_again(hub: Link, watch: QueueWatch, stream: str) -> tuple[str, ...]:
    """Put something in, purge it, and return what the watch found lost by that."""
    subject = f"submit.{stream.removeprefix('SUBMIT_')}.normal.2"
    await steady(lambda: hub.publish_acked(subject, b"x", msg_id=uuid4().hex))
    seen = await steady(lambda: streams_seen(hub))
    await watch.look(seen.states)
    await steady(lambda: hub.api(f"STREAM.PURGE.{stream}", {}))
    seen = await steady(lambda: streams_seen(hub))
    return await watch.look(seen.states)


async def held_by(hub: Link, name: str, stream: str) -> None:
    """Have this server alone hold a stream: whoever leads it is who keeps it."""
    await led_by(hub, name, stream)
    config = (await steady(lambda: hub.api(f"STREAM.INFO.{stream}", {})))["config"]
    alone = {**config, "num_replicas": 1}
    await steady(lambda: hub.api(f"STREAM.UPDATE.{stream}", alone))
    info = await whole(hub, stream, servers=1)  # asked while it is under way, it begins anew
    assert info["cluster"]["leader"] == name


async def asked_of(system: Link, name: str) -> None:
    """Have this server answer for the cluster, which waits for those who lead streams."""
    wanted = json.dumps({"placement": {"preferred": name}}).encode()
    await steady(lambda: system.request("$JS.API.META.LEADER.STEPDOWN", wanted))


async def led_by(hub: Link, name: str, stream: str) -> None:
    """Have this server lead a stream."""
    wanted = {"placement": {"preferred": name}}
    while True:
        info = await steady(lambda: hub.api(f"STREAM.INFO.{stream}", {}))
        if info["cluster"].get("leader") == name:
            return
        with contextlib.suppress(TransportError):
            await hub.api(f"STREAM.LEADER.STEPDOWN.{stream}", wanted)
        await asyncio.sleep(0.2)


async def behind(hub: Link) -> set[str]:
    """The streams that not every server holds in full."""
    states = await steady(lambda: stream_states(hub))
    return {name for name, state in states.items() if state.behind}


async def carried(cluster: Servers, name: str, to: Path) -> None:
    """Bring a server's folder to another path, as to a machine of its own."""
    place = cluster.running[name].place
    await asyncio.to_thread(shutil.move, place.folder, to)
    cluster.running[name] = Server(replace(place, folder=to))


def test_a_servers_files_are_for_any_path_and_any_disk(tmp_path: Path) -> None:
    region = found(tmp_path / "r", nodes=NODES, servers=SERVERS)
    place, machine = HubPlace(region.hub), Machine(region.hub, region.passphrase_file)
    configuration = place.cluster_server(place.config().cluster[0]).configuration
    assert str(tmp_path) not in configuration.read_text()
    enough = place.config().model_copy(update={"server_disk_mib": 64 * 1024})
    place.config_file.write_bytes(config_toml(enough))
    machine.good("hub", "server-config")
    assert json.loads(configuration.read_bytes())["jetstream"]["max_file_store"] == 64 * 1024**3
    little = enough.model_copy(update={"server_disk_mib": 300})
    place.config_file.write_bytes(config_toml(little))
    assert machine.refused("hub", "run")[0] == "disk-too-small"


async def test_the_expiry_of_each_server_is_shown_as_it_shows_it_itself(tmp_path: Path) -> None:
    async with asyncio.timeout(BOUND_S * 2), running_servers(tmp_path / "r") as cluster:
        async with Link(cluster.hub_at("hub-1")) as hub:
            await hub.wait_connected(BOUND_S)
        pulse, now = Pulse(), clock.now()
        measures = HubMeasures(cluster.place, cluster.config, pulse)
        await until_all_answer(cluster, pulse)
        days = {name: left_s / 86_400 for name, left_s in expiries(measures).items()}
        assert set(days) == {"authority", "hub-1", "hub-2", "hub-3"}
        assert all(396 < days[f"hub-{number}"] < 397 for number in (1, 2, 3))
        (server,) = (each for each in cluster.config.cluster if each.name == "hub-1")
        with pytest.raises(Unreachable):  # its certificate has another name
            await shown_until("127.0.0.1", server.port, cluster.place.authority_pem())
        await cluster.running["hub-2"].stop()
        await look_at_servers(cluster.place, cluster.config, pulse)
        assert up(measures) == {"hub-1": 1, "hub-2": 0, "hub-3": 1}
        assert expiries(measures)["hub-2"] > 0  # what it last showed
        assert expires_at((cluster.folder("hub-1") / "server.pem").read_bytes()) > now


async def until_all_answer(cluster: Servers, pulse: Pulse) -> None:
    while not pulse.servers or not all(seen.up for seen in pulse.servers.values()):
        await look_at_servers(cluster.place, cluster.config, pulse)


def samples(measures: HubMeasures, name: str, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in measures.families(clock.now())
        for sample in family.samples
        if sample.name == name
    }


def expiries(measures: HubMeasures) -> dict[str, float]:
    return samples(measures, "kentong_hub_certificate_expires_in_seconds", "certificate")


def up(measures: HubMeasures) -> dict[str, float]:
    return samples(measures, "kentong_hub_server_up", "server")


async def test_a_server_with_a_foreign_certificate_is_no_route(tmp_path: Path) -> None:
    """It has every key of the hub that is in its folder, and a certificate of somebody else."""
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(tmp_path / "r") as (cluster, _, hub),
    ):
        await whole(hub, STREAM)
        folder = cluster.folder("hub-3")
        own = {path: path.read_bytes() for path in (folder / "server.pem", folder / "server.key")}
        await cluster.running["hub-3"].stop()
        authority, key = make_ca("Kentong hub", clock.now(), 30)  # the same name, another key
        foreign = issue_server(authority, key, ("localhost",), clock.now(), 30, routes=True)
        for path, raw in zip(own, foreign, strict=True):
            path.write_bytes(raw)
        written = {name: len(log(cluster, name)) for name in cluster.running}
        await cluster.running["hub-3"].start()
        for name, before in written.items():  # whoever of two calls: neither believes the other
            await said(cluster, name, "TLS route handshake error", after=before)
        while True:  # it was there a moment ago, and leaves their sight
            info = await steady(lambda: hub.api(f"STREAM.INFO.{STREAM}", {}))
            (peer,) = (r for r in info["cluster"]["replicas"] if r["name"] == "hub-3")
            if peer.get("offline") and not peer["current"]:
                break
            await asyncio.sleep(0.2)
        await cluster.running["hub-3"].stop()
        for path, raw in own.items():
            path.write_bytes(raw)
        await cluster.running["hub-3"].start()
        await whole(hub, STREAM)


def log(cluster: Servers, name: str) -> str:
    return (cluster.folder(name) / "nats-server.log").read_text("utf-8")


async def said(cluster: Servers, name: str, words: str, *, after: int) -> None:
    """Return once a server wrote this down, after what it had written before."""
    while words not in log(cluster, name)[after:]:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)


@pytest.mark.soak
async def test_servers_are_put_under_another_authority_one_by_one(tmp_path: Path) -> None:
    """As docs/runbook.md says it: at no moment is a server refused by the others or by the hub."""
    async with asyncio.timeout(BOUND_S * 3), running_servers(tmp_path / "r") as cluster:
        place, secret = cluster.place, cluster.region.passphrase
        old = place.authority_pem()
        async with Link(cluster.system_at("hub-1")) as system, Link(cluster.hub_at("hub-1")) as hub:
            await cluster.enrolled(system, hub)
            await whole(hub, STREAM)
        in_force = PublishedDirectory.at(place.home).view().hub
        document = with_next_authority(place, secret, in_force, now=clock.now())
        await each_in_turn(cluster)  # they believe both, and show the old one's
        assert take_up_authority(place, secret, document)
        new = place.authority_pem()
        assert await shows(cluster, "hub-1", old)
        assert not await shows(cluster, "hub-1", new)
        async with Link(cluster.hub_at("hub-2")) as hub:  # as the hub, restarted
            await whole(hub, STREAM)
        assert place.believed_pem() == new + old
        await each_in_turn(cluster)  # now they show the new one's
        for name in cluster.running:
            assert await shows(cluster, name, new)
            assert not await shows(cluster, name, old)
        await each_in_turn(cluster, "--only-new-authority")
        assert place.believed_pem() == new
        assert (cluster.folder("hub-2") / "ca.pem").read_text() == new


async def each_in_turn(cluster: Servers, *options: str) -> None:
    """Renew all files, restart one server after the other, each once the one before is whole."""
    await renewed(cluster, *options)
    for name in cluster.running:
        await cluster.restart(name)
        async with Link(cluster.hub_at(name)) as hub:
            await hub.wait_connected(BOUND_S)
            await whole(hub, STREAM)


async def shows(cluster: Servers, name: str, authority_pem: str) -> bool:
    (server,) = (each for each in cluster.config.cluster if each.name == name)
    try:
        await shown_until(server.host, server.port, authority_pem)
    except Unreachable:
        return False
    return True


@pytest.mark.soak
async def test_a_stolen_gateways_user_is_thrown_out_of_every_server(tmp_path: Path) -> None:
    """The streams stay with their account; what `hub server-config` writes later says it too."""
    async with asyncio.timeout(BOUND_S * 2), running_servers(tmp_path / "r") as cluster:
        place, secret = cluster.place, cluster.region.passphrase
        given = place.open_gateway(secret).credentials(place, cluster.config, "thief")
        async with (
            Link(cluster.system_at("hub-1")) as system,
            Link(cluster.hub_at("hub-1")) as hub,
            Link(replace(given, urls=(cluster.url("hub-3"),))) as thief,
        ):
            await cluster.enrolled(system, hub)
            await whole(hub, STREAM)
            await thief.wait_connected(BOUND_S)
            shut_out_gateway_user(place, secret, now=clock.now())
            await cluster.enrolled(system, hub)  # as the hub, restarted
            while thief.connected:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        await each_in_turn(cluster)
        for name in cluster.running:
            gateway = place.open_gateway(secret).credentials(place, cluster.config, "gateway")
            async with (
                Link(replace(gateway, urls=(cluster.url(name),))) as other,
                Link(replace(given, urls=(cluster.url(name),))) as thief,
            ):
                await other.wait_connected(BOUND_S)
                with pytest.raises(Unreachable):
                    await thief.wait_connected(3.0)
