"""Three servers: one is killed, frozen, or cut off; nothing is lost or decided twice."""

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion, found
from broker.cli.demo.story import desks
from broker.client import BrokerError, Client, Submission
from broker.hub.founding import config_toml
from broker.hub.place import HubPlace
from broker.transport.errors import SequenceConflict, Unreachable
from broker.transport.link import Link
from broker.transport.server import Server
from broker.transport.streamstates import stream_states
from schemas.desk import RecipientState
from schemas.desk import Submission as Outcome
from tests.faults.test_kills import again_later, prepared, submitted, whole_inbox
from tests.support.cable import Cable, cable
from tests.support.cluster import NODES, SERVERS, steady, whole

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(420)]
COUNT = 60
FROZEN_S = 6.0
BOUND_S = 200.0
APART, OTHERS = "hub-1", ("hub-2", "hub-3")


@dataclass
class Cluster:
    """A region on three servers, each a process that the test may kill or freeze."""

    region: DemoRegion
    processes: Processes
    servers: dict[str, Server]
    clients: dict[str, Client]
    link: Link

    async def leader(self, stream: str) -> str:
        """The server that leads a stream at this moment."""
        while True:
            info = await steady(lambda: self.link.api(f"STREAM.INFO.{stream}", {}))
            if name := (info.get("cluster") or {}).get("leader"):
                return str(name)
            await asyncio.sleep(0.2)

    def signal(self, name: str, number: signal.Signals) -> None:
        pid = self.servers[name].pid
        assert pid is not None
        os.kill(pid, number)

    async def restart(self, name: str) -> None:
        await self.servers[name].stop(kill=True)
        await self.servers[name].start()


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    prepare: Callable[[DemoRegion], None] = lambda _: None,
    gateways: int = 2,
    watched: Sequence[str] = (),
) -> AsyncIterator[Cluster]:
    """Servers, hub and nodes; the test looks at the streams by the servers of `watched` alone."""
    region = await asyncio.to_thread(found, folder, nodes=NODES, gateways=gateways, servers=SERVERS)
    await asyncio.to_thread(prepare, region)
    place = HubPlace(region.hub)
    config = place.config()
    servers = {each.name: Server(place.cluster_server(each)) for each in config.cluster}
    processes = Processes(region)
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await server.start()
            stack.push_async_callback(server.stop)
        stack.push_async_callback(processes.stop)
        await processes.start_all()
        clients = await stack.enter_async_context(desks(region))
        link = await stack.enter_async_context(link_to(region, *watched))
        yield Cluster(region, processes, servers, clients, link)


@asynccontextmanager
async def link_to(region: DemoRegion, *names: str) -> AsyncIterator[Link]:
    """The hub's own account, at these servers alone, or at any."""
    place = HubPlace(region.hub)
    config = place.config()
    given = place.open_hub(region.passphrase).hub_credentials(place, config)
    chosen = urls(region, *names) if names else given.urls
    async with Link(replace(given, urls=chosen, name="test")) as link:
        await link.wait_connected(30)
        yield link


def urls(region: DemoRegion, *names: str) -> tuple[str, ...]:
    servers = HubPlace(region.hub).config().cluster
    return tuple(server.url for server in servers if server.name in names)


async def over(client: Client, submission: Submission) -> Outcome:
    while True:
        try:
            shown = (await client.status(submission.submission_id)).shown
        except BrokerError as error:
            await again_later(error)
            continue
        if all(each.state.final for each in shown.recipients):
            return shown
        await asyncio.sleep(0.1)


async def test_a_leader_killed_and_a_server_frozen_lose_and_double_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(BOUND_S), running_cluster(tmp_path / "r") as cluster:
        audit = f"AUDIT_{clock.now().year}"
        states = await stream_states(cluster.link)
        assert {"SUBMIT_SG", "INBOX_MY_exercise", audit} <= states.keys()
        info = await cluster.link.api(f"STREAM.INFO.{audit}", {})
        assert info["config"]["num_replicas"] == SERVERS
        sent: list[Submission] = []
        for number in range(COUNT):
            signed = await prepared(cluster.clients["SG"], ("MY",), number)
            sent.append(await submitted(cluster.clients["SG"], signed))
            if number == COUNT // 4:
                await cluster.restart(await cluster.leader(audit))
            if number == COUNT // 2:
                frozen = await cluster.leader("INBOX_MY_exercise")
                cluster.signal(frozen, signal.SIGSTOP)  # the others hear nothing of it any more
                asyncio.get_running_loop().call_later(
                    FROZEN_S, cluster.signal, frozen, signal.SIGCONT
                )
        final = await all_arrived(cluster, "SG", "MY", sent)
        await each_id_is_decided_once(cluster, audit, "SG", final)
        await a_second_record_is_refused(cluster, audit, final)


async def all_arrived(
    cluster: Cluster, sender: str, recipient: str, sent: list[Submission]
) -> list[Outcome]:
    """What became of each, once it is in its inbox exactly once, and nothing else is."""
    final = [await over(cluster.clients[sender], each) for each in sent]
    assert {each.recipients[0].state for each in final} == {RecipientState.DELIVERED}
    got = Counter(str(item.alert_id) for item in await whole_inbox(cluster.clients[recipient]))
    assert got == Counter({str(each.alert_id): 1 for each in final})
    return final


def decided(audit: str, sender: str, outcome: Outcome) -> str:
    """The subject on which the decision about an alert stands."""
    return f"audit.{audit.removeprefix('AUDIT_')}.{sender}.{outcome.id}"


async def each_id_is_decided_once(
    cluster: Cluster, audit: str, sender: str, final: list[Outcome]
) -> None:
    """One record stands on each subject, and none of other bytes below it."""
    for each in final:
        subject = decided(audit, sender, each)
        for asked, count in ((subject, {subject: 1}), (f"{subject}.>", {})):
            body = {"subjects_filter": asked}
            info = await steady(lambda b=body: cluster.link.api(f"STREAM.INFO.{audit}", b))
            assert (info["state"].get("subjects") or {}) == count


async def a_second_record_is_refused(cluster: Cluster, audit: str, final: list[Outcome]) -> None:
    """By whichever server leads, while another is away."""
    records = {}
    for each in final:
        subject = decided(audit, "SG", each)
        records[subject] = await steady(lambda s=subject: cluster.link.get_last(audit, s))
        assert records[subject] is not None
    leader = await cluster.leader(audit)
    other = next(name for name in cluster.servers if name != leader)
    cluster.signal(other, signal.SIGSTOP)
    try:
        for number, subject in enumerate(list(records)[:3]):
            await refused(cluster.link, subject, f"other-{number}")
    finally:
        cluster.signal(other, signal.SIGCONT)
    for subject, before in records.items():
        assert await steady(lambda s=subject: cluster.link.get_last(audit, s)) == before


async def refused(link: Link, subject: str, msg_id: str) -> None:
    """Return once a server said no; it may be the frozen one that we are connected to."""
    while True:
        try:
            await link.publish_acked(subject, b"another", msg_id=msg_id, expect_last_subject_seq=0)
        except SequenceConflict:
            return
        except Unreachable:
            await link.wait_connected(60)
        else:
            pytest.fail("a second record was taken")


async def test_a_leader_cut_off_from_the_others_decides_nothing_twice(tmp_path: Path) -> None:
    """Only its routes are cut: a gateway and a node stay with it, and it believes that it leads.

    For some seconds it answers as a leader, of a past: that nothing stands where the others have a
    record by now (seen here). What it says then must lead to nothing.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(BOUND_S * 2))
        cables = {name: await stack.enter_async_context(cable(0)) for name in (APART, *OTHERS)}
        cluster = await stack.enter_async_context(
            running_cluster(
                tmp_path / "r",
                prepare=lambda region: wired(region, cables),
                gateways=0,
                watched=OTHERS,
            )
        )
        for worker, name in enumerate((APART, "hub-2"), start=1):
            home = await asyncio.to_thread(gateway_at, cluster.region, name)
            await cluster.processes._start(
                f"gateway-{worker}", home, "gateway", "run", "--worker", str(worker)
            )
        apart = await stack.enter_async_context(link_to(cluster.region, APART))
        audit = f"AUDIT_{clock.now().year}"
        sent: dict[str, list[Submission]] = {code: [] for code in NODES}
        await some(cluster, "SG", "MY", sent, 5)
        await over(cluster.clients["SG"], sent["SG"][0])
        for stream in (audit, "SUBMIT_SG", "INBOX_MY_exercise"):
            await led_by(cluster, stream, APART)
        await led_by(cluster, "SUBMIT_MY", "hub-2")

        await some(cluster, "SG", "MY", sent, 10)  # under way when it is cut
        for each in cables.values():
            each.cut()
        held = {name: each.passed for name, each in cables.items()}
        believed = await apart.api(f"STREAM.INFO.{audit}", {})
        assert believed["cluster"]["leader"] == APART
        await some(cluster, "SG", "MY", sent, 5)  # acknowledged by the node, and by no server
        await some(cluster, "MY", "SG", sent, 10)
        meanwhile = [await accepted(cluster.clients["MY"], each) for each in sent["MY"]]
        assert await cluster.leader(audit) in OTHERS
        for number, each in enumerate(meanwhile):
            subject = decided(audit, "MY", each)
            with pytest.raises(Unreachable):  # it may propose, and has nobody to agree
                await apart.publish_acked(
                    subject, b"another", msg_id=f"apart-{number}", expect_last_subject_seq=0
                )
        assert {name: each.passed for name, each in cables.items()} == held  # it was cut off
        for each in cables.values():
            each.mend()

        for stream in (audit, "SUBMIT_SG", "INBOX_MY_exercise"):
            await whole(cluster.link, stream)
        for sender, recipient in (("SG", "MY"), ("MY", "SG")):
            final = await all_arrived(cluster, sender, recipient, sent[sender])
            await each_id_is_decided_once(cluster, audit, sender, final)
        for subject in (decided(audit, "MY", each) for each in meanwhile):
            record = await steady(lambda s=subject: cluster.link.get_last(audit, s))
            assert record is not None
            assert record.payload != b"another"


def wired(region: DemoRegion, cables: dict[str, Cable]) -> None:
    """Lead every route of one server through cables; its node and ours know one server each."""
    place = HubPlace(region.hub)
    ports = {server.name: server.cluster_port for server in place.config().cluster}
    for server in place.config().cluster:
        cables[server.name].to_port = ports[server.name]
        file = place.cluster_server(server).configuration
        settings = json.loads(file.read_bytes())
        others = [name for name in ports if name != server.name]
        through = others if server.name == APART else [APART]
        settings["cluster"]["routes"] = [
            f"tls://localhost:{cables[name].port if name in through else ports[name]}"
            for name in others
        ]
        # What the others are told of it, so that none finds a way around.
        settings["cluster"]["advertise"] = f"localhost:{cables[server.name].port}"
        file.write_text(json.dumps(settings))
    for code, name in (("SG", APART), ("MY", "hub-2")):
        node = NodePlace(region.home(code))
        (url,) = urls(region, name)
        node.write(node.config().model_copy(update={"hub_url": url}), node.authority_pem())


def gateway_at(region: DemoRegion, name: str) -> Path:
    """The home of a gateway that knows one server alone."""
    home = region.folder / f"gateway-at-{name}"
    home.mkdir(mode=0o700)
    (home / "hub").mkdir(mode=0o700)
    shutil.copytree(region.hub / "region", home / "region")
    for part in ("keys", "directory"):
        shutil.copytree(region.hub / "hub" / part, home / "hub" / part)
    shutil.copy2(region.hub / "hub" / "ca.pem", home / "hub" / "ca.pem")
    (url,) = urls(region, name)
    changed = {"cluster": (), "nats_url": url}
    config = HubPlace(region.hub).config().model_copy(update=changed)
    (home / "hub" / "config.toml").write_bytes(config_toml(config))
    return home


async def some(
    cluster: Cluster, sender: str, recipient: str, sent: dict[str, list[Submission]], count: int
) -> None:
    """Queue more alerts; the node acknowledges each."""
    client = cluster.clients[sender]
    for _ in range(count):
        signed = await prepared(client, (recipient,), len(sent[sender]) + 1)
        sent[sender].append(await submitted(client, signed))


async def accepted(client: Client, submission: Submission) -> Outcome:
    """What the node shows once the gateway's decision has come back."""
    waiting = {RecipientState.QUEUED, RecipientState.SUBMITTED}
    while True:
        shown = (await client.status(submission.submission_id)).shown
        if shown.recipients[0].state not in waiting:
            return shown
        await asyncio.sleep(0.1)


async def led_by(cluster: Cluster, stream: str, name: str) -> None:
    """Make one server the leader of a stream."""
    body = {"placement": {"preferred": name}}
    while await cluster.leader(stream) != name:
        await whole(cluster.link, stream)
        await steady(lambda: cluster.link.api(f"STREAM.LEADER.STEPDOWN.{stream}", body))
