"""A directory that is too old, or two under one version: nothing is sealed until that is over."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo import alerts
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion, found
from broker.gateway.decide import Decider
from broker.gateway.run import child_trial, published, run_worker
from broker.hub.place import HubPlace
from broker.node.node import Node
from broker.node.present import Present
from broker.transport.link import Link
from keys.directory import layout
from keys.directory.ceremony import sign_proposal
from keys.directory.client import DirectoryClient
from keys.directory.drafting import Draft
from keys.directory.holders import load_ministry, load_online_signers
from keys.directory.source import PublishedDirectory
from keys.files import write_private
from keys.home import Home
from keys.identity import MemberIdentity
from schemas.desk import DraftRequest, NodeStatus, RecipientState, Submission, SubmissionState
from schemas.directory import json_document
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.nodes import until_over

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]
LASTS = timedelta(hours=1)  # a timestamp
LEFT = timedelta(seconds=6)


@dataclass
class World:
    """A region whose hub is a process, without a gateway; nodes and gateway are started here."""

    region: DemoRegion
    processes: Processes

    @property
    def published(self) -> PublishedDirectory:
        return PublishedDirectory.at(self.region.hub)

    def renew(self, *, ago: timedelta = timedelta(0)) -> None:
        """Sign the timestamp as the hub does every minute, or as one that froze since did."""
        online = load_online_signers(HubPlace(self.region.hub).keys, self.region.passphrase)
        self.published.repository.renew_timestamp(online=online, now=clock.now() - ago)

    def publish(self, name: str, *, code: str = "TH") -> None:
        """Put the next version into force: a member gives itself another name."""
        now, secret = clock.now(), self.region.passphrase
        repository = self.published.repository
        base = repository.trusted().content
        draft = Draft(base, now=now, bundle=repository.bundle())
        document = repository.trusted().view().member(code).document
        renamed = document.model_copy(update={"names": {"en": name}})
        path = layout.member_files(code)[0]
        draft.put_member_files(code, {path: json_document(renamed)})
        ministry = load_ministry(Home(self.region.home(code)).ministry(code))
        proposal, _ = sign_proposal(draft.proposal(), base, ministry.signer(lambda _: secret))
        online = load_online_signers(HubPlace(self.region.hub).keys, secret)
        repository.publish(proposal, online=online, now=now)

    @asynccontextmanager
    async def node(self, code: str) -> AsyncIterator[Node]:
        """A member's node, put together as `kentong node run` does."""
        place = NodePlace(self.region.home(code))
        config, home = place.config(), Home(place.home)
        identity = MemberIdentity.load(home.node_keys, self.region.passphrase)
        directory = DirectoryClient(home.node_directory, pinned_root=home.pinned_root())
        present = Present(code)
        if (copy := directory.load()) is not None:
            present.take(copy.view)
        async with (
            place.database() as database,
            Link(place.credentials(config, identity)) as link,
        ):
            node = Node(present, identity, database, link, place.folder / "attachments", directory)
            async with node.running():
                await status_when(node, lambda status: status.directory is not None)
                yield node

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """A gateway worker, put together as `kentong gateway run` does."""
        home = self.region.hub
        place = HubPlace(home)
        secrets = place.open_gateway(self.region.passphrase)
        decider = Decider("gateway-1", secrets.kid, secrets.key, secrets.records)
        async with Link(secrets.credentials(place, place.config(), "gateway-1")) as link:
            await link.wait_connected()
            loop = asyncio.get_running_loop()
            work = run_worker(link, published(home), decider, trial=child_trial(home))
            worker = loop.create_task(work)
            try:
                yield
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)

    async def queue(self, node: Node, to: str) -> Submission:
        officer = self.region.officer(node.member)
        draft = await node.create_draft(
            DraftRequest(
                status=Status.EXERCISE,
                alert=alerts.cyber(clock.now().date()),
                recipients=(to,),
                agency="POLICE",
                tlp=TLP.AMBER,
                purposes=(Purpose.WARN,),
                officer_kid=officer.kid,
            )
        )
        return await node.submit_draft(
            draft.draft_id,
            signature=officer.sign_key.sign(draft.bytes_to_sign),
            officer_kid=officer.kid,
            idempotency_key=str(uuid4()),
        )


@asynccontextmanager
async def running_world(
    folder: Path, prepare: Callable[[World], None] = lambda _: None
) -> AsyncIterator[World]:
    region = await asyncio.to_thread(found, folder)
    config = HubPlace(region.hub).config_file
    text = config.read_text().replace("gateways = 1", "gateways = 0")
    write_private(config, text.encode())
    world = World(region, Processes(region))
    prepare(world)
    try:
        await world.processes.start_hub()
        yield world
    finally:
        await world.processes.stop()


async def status_when(node: Node, right: Callable[[NodeStatus], bool]) -> NodeStatus:
    """The node's status once it is `right`."""
    while True:
        status = await node.status()
        if right(status):
            return status
        await asyncio.sleep(0.05)


async def held(node: Node, submission: Submission, why: str) -> Submission:
    """The submission once it waits for `why`."""
    while True:
        ticket = node.changes.ticket()
        shown = await node.submission(submission.submission_id)
        if shown.state is SubmissionState.QUEUED and shown.waiting_for == why:
            assert all(each.state is RecipientState.QUEUED for each in shown.recipients)
            return shown
        await ticket.wait()


async def delivered(node: Node, submission: Submission) -> None:
    last = await until_over(node, submission.submission_id)
    assert last.recipients[0].state is RecipientState.DELIVERED, last.recipients[0].code


def codes(status: NodeStatus) -> set[str]:
    return {alarm.code for alarm in status.alarms}


async def test_an_expired_directory_holds_everything_until_there_is_a_fresh_one(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(tmp_path / "r"))
        world.renew(ago=LASTS - LEFT)  # the last that this hub signed before it froze
        await stack.enter_async_context(world.gateway())
        sg = await stack.enter_async_context(world.node("SG"))
        my = await stack.enter_async_context(world.node("MY"))
        first = await world.queue(sg, "MY")
        await delivered(sg, first)  # there was time for this one

        status = await status_when(sg, lambda status: status.sealing == "directory-expired")
        assert status.directory is not None
        assert not status.directory.fresh
        queued = [await world.queue(sg, "MY") for _ in range(3)]
        for each in queued:
            await held(sg, each, "directory-expired")
        await status_when(sg, lambda status: "directory-expired" in codes(status))
        assert (await my.status()).exercise_inbox == 1

        world.renew()
        for each in queued:
            await delivered(sg, each)
        assert (await sg.status()).sealing == ""
        assert (await my.status()).exercise_inbox == 4


def fork(world: World) -> Path:
    """Leave the hub with one next version and return another one, as an operator could make it."""
    directory = Home(world.region.hub).directory
    other = directory.with_name("other")
    shutil.copytree(directory, other)
    world.publish("The Kingdom of Thailand")
    for _ in range(9):  # its timestamp is the newer one, so that no member calls it a rollback
        world.renew()
    mine = directory.with_name("mine")
    directory.rename(mine)
    other.rename(directory)
    world.publish("Siam")
    return mine


async def test_a_split_directory_holds_everything_until_all_see_the_same(tmp_path: Path) -> None:
    folders: list[Path] = []
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            running_world(tmp_path / "r", lambda world: folders.append(fork(world)))
        )
        directory = Home(world.region.hub).directory
        sg = await stack.enter_async_context(world.node("SG"))
        directory.rename(directory.with_name("siam"))
        folders[0].rename(directory)  # what everybody else is shown
        await stack.enter_async_context(world.gateway())
        my = await stack.enter_async_context(world.node("MY"))
        seen = [node.present.view.version for node in (sg, my)]
        assert (seen[0].root, seen[0].snapshot) == (seen[1].root, seen[1].snapshot)
        assert seen[0].hash != seen[1].hash

        # The gateway refuses what is sealed under the other one; the alert waits, it is not lost.
        queued = [await world.queue(sg, "MY")]
        await held(sg, queued[0], "directory-split")
        status = await sg.status()
        assert status.sealing == "directory-split"
        assert "directory-split" in codes(status)
        queued += [await world.queue(sg, "MY") for _ in range(2)]
        for each in queued:
            await held(sg, each, "directory-split")
        # What others send is still read, and names the directory that it was decided under.
        told = await world.queue(my, "SG")
        await status_when(sg, lambda status: status.exercise_inbox == 1)
        assert (await sg.inbox()).items[0].alert_id == told.alert_id
        evidence = Home(world.region.home("SG")).node_directory.with_name("evidence")
        while not list(evidence.glob("*/*/theirs.json")):  # noqa: ASYNC110 - a thread writes them
            await asyncio.sleep(0.05)
        assert (await my.status()).exercise_inbox == 0

        world.publish("Malaysia truly Asia", code="MY")  # on top of what most had seen
        for each in queued:
            await delivered(sg, each)
        status = await sg.status()
        assert (status.sealing, status.exercise_inbox) == ("", 1)
        assert (await my.status()).exercise_inbox == 3
