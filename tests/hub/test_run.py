"""A whole hub in this process: founded, run, asked, changed while members are connected."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.errors import BrokerError
from broker.hub.erased import Erasures
from broker.hub.founding import init_hub, write_server
from broker.hub.memory import StreamMemory, read_memory
from broker.hub.place import HubPlace
from broker.hub.rekeying import shut_out_gateway_user
from broker.hub.run import REMEMBER_S, Hub, Ready
from broker.hub.settings import SMALL, HubConfig
from broker.hub.suspensions import (
    LASTS,
    Suspension,
    Suspensions,
    read_suspensions,
    write_suspensions,
)
from broker.node.node import Node
from broker.node.notices import SUSPENDED
from broker.node.present import Present
from broker.store.database import open_database, sqlite_url
from broker.store.tables import metadata
from broker.transport.accounts import inbox_prefix, user_jwt
from broker.transport.credentials import Credentials
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.server import Server
from broker.transport.services import HubServices
from broker.transport.streams import AUDIT_AGE
from broker.transport.streamstates import StreamState
from keys.directory.client import DirectoryClient
from keys.directory.edits import new_member_document
from keys.directory.founding import FoundedRegion, Founder, application_of, found_region
from keys.directory.holders import create_ministry, load_online_signers
from keys.directory.repository import DirectoryRepository
from keys.home import Home
from keys.identity import MemberIdentity, create_identity, identity_in
from keys.keystore import FLOOR_LOG2N
from keys.primitives.signing import SignKey
from schemas.directory import (
    MemberKind,
    OfficersDocument,
    RegionMember,
    Revocation,
    RevocationReason,
    Revocations,
    json_document,
)
from tests.support.commands import Machine
from tests.support.hub import BOUND_S, free_port

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PASS = b"correct horse"
POLICIES = Path(__file__).parent.parent.parent / "deploy" / "policies"
CODES = ("SG", "MY", "VN")


@dataclass
class World:
    """A founded region and its hub's home."""

    folder: Path
    place: HubPlace
    config: HubConfig
    region: FoundedRegion

    def hub(self, on_ready: Callable[[Ready], None], command: Sequence[str] = ()) -> Hub:
        return Hub(
            self.place,
            replace_gateways(self.config, 1 if command else 0),
            self.place.open_hub(PASS),
            self.place.open_records(PASS),
            load_online_signers(self.place.keys, PASS),
            command=lambda _home, _worker: command,
            on_ready=on_ready,
        )

    def link(self, code: str) -> Link:
        identity = MemberIdentity.load(Home(self.folder / code).node_keys, PASS)
        account, user = (
            SignKey(identity.nats_account_seed),
            SignKey(identity.nats_user_seed),
        )
        jwt = user_jwt(account, user.public.raw, code, now=clock.now(), member=code)
        view = self.region.trusted().view()
        return Link(
            Credentials(
                (view.hub.server_url,), view.hub.tls_ca_pem, jwt, user, inbox_prefix(code), code
            )
        )

    @asynccontextmanager
    async def running(self, command: Sequence[str] = ()) -> AsyncIterator[Ready]:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Ready] = loop.create_future()
        task = loop.create_task(self.hub(ready.set_result, command).run())
        try:
            async with asyncio.timeout(BOUND_S):
                await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
                if not ready.done():
                    await task
            yield ready.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


def replace_gateways(config: HubConfig, number: int) -> HubConfig:
    return config.model_copy(update={"gateways": number})


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Founded once: making keys is what takes time."""
    folder = tmp_path_factory.mktemp("founded")
    now = clock.now()
    home = folder / "hub"
    config = HubConfig(port=free_port(), store=SMALL)
    document = init_hub(home, PASS, config, now=now, log2n=FLOOR_LOG2N)
    region = found_region(
        [Founder(code, folder / code, (POLICIES / f"{code}.toml").read_bytes()) for code in CODES],
        hub_home=home,
        hub=document,
        agreement=(POLICIES / "agreement.toml").read_bytes(),
        passphrase=PASS,
        now=now,
        log2n=FLOOR_LOG2N,
    )
    place = HubPlace(home)
    return World(folder, place, place.config(), region)


@pytest.fixture
def world(founded: World, tmp_path: Path) -> World:
    folder = tmp_path / "world"
    shutil.copytree(founded.folder, folder)
    home = folder / "hub"
    repository = DirectoryRepository(Home(home).directory, pinned_root=founded.region.root)
    region = replace(founded.region, repository=repository)
    return World(folder, HubPlace(home), founded.config, region)


@pytest_asyncio.fixture
async def ready(world: World) -> AsyncIterator[Ready]:
    async with world.running() as ready:
        yield ready


@asynccontextmanager
async def connected(world: World, code: str) -> AsyncIterator[Link]:
    async with world.link(code) as link:
        await link.wait_connected(BOUND_S)
        yield link


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, looked at while the loop is free."""
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - a process or a lost line sets no event here
            await asyncio.sleep(0.01)


async def alarmed(world: World, link: Link) -> list[tuple[str | None, str]]:
    """Of what suspensions, and for what reason, the node of MY warns once it asked the hub."""
    identity = MemberIdentity.load(Home(world.folder / "MY").node_keys, PASS)
    url = sqlite_url(world.folder / "MY.db")
    async with open_database(url, metadata) as database:
        node = Node(Present("MY"), identity, database, link, world.folder / "MY-attachments")
        await node.upkeep.read_notices()
        raised = (await node.status()).alarms
    return [(a.peer, a.detail.split("; until ")[0]) for a in raised if a.code == SUSPENDED]


async def stored(link: Link, subject: str) -> None:
    """Publish until it is stored: a newcomer may be let in a moment before its streams are made."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                await link.publish_acked(subject, b"x", msg_id="1")
            except Unreachable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_member_reads_the_directory_the_time_and_no_notices(
    world: World, ready: Ready, tmp_path: Path
) -> None:
    assert ready.members == tuple(sorted(CODES))
    async with connected(world, "SG") as link:
        services = HubServices(link, "SG")
        assert abs(await services.time() - clock.now()) < timedelta(seconds=5)
        assert await services.notices() == ()
        assert await services.read("metadata/99.root.json", max_bytes=1000) is None
        assert await services.read("targets/hub/config.toml", max_bytes=1000) is None
        client = DirectoryClient(tmp_path / "copy", pinned_root=world.region.root)
        copy = await client.refresh(services.read, now=clock.now())
    assert copy.view.members() == tuple(sorted(CODES))


async def test_a_hub_that_starts_removes_what_killed_backups_left(world: World) -> None:
    left = world.place.home / ".backup-k3j2h1"
    left.mkdir()
    (left / "log.db").write_bytes(b"keys of records that are erased by now")
    async with world.running():
        assert not left.exists()


@pytest.mark.usefixtures("ready")
async def test_a_member_that_two_others_suspend_is_cut_off_at_once(world: World) -> None:
    now = clock.now()
    async with connected(world, "VN") as suspended, connected(world, "MY") as other:
        draft = world.region.draft(now=now)
        entry = Revocation(member="VN", at=now, reason=RevocationReason.SUSPENDED)
        draft.put_revocations(Revocations(entries=(entry,)))
        world.region.enact(draft.proposal(), by=("SG", "MY"), now=now)
        await until(lambda: not suspended.connected)
        with pytest.raises(Unreachable):
            await suspended.wait_connected(1)
        await other.publish_acked("submit.MY.normal.1", b"x", msg_id="1")


@pytest.mark.usefixtures("ready")
async def test_a_member_that_joins_is_enrolled_and_its_old_account_key_forgotten(
    world: World,
) -> None:
    now = clock.now()
    store = create_identity(
        Home(world.folder / "TH").node_keys, PASS, "TH", now=now, log2n=FLOOR_LOG2N
    )
    ministry = create_ministry(
        Home(world.folder / "TH").ministry("TH"), PASS, "TH", log2n=FLOOR_LOG2N
    )
    document = new_member_document(
        identity_in(store), names={"en": "Thailand"}, reads={"drugs": (1,)}, now=now
    )
    application = application_of(
        ministry.key,
        document=document,
        officers=OfficersDocument(member="TH", officers=()),
        policy=(POLICIES / "TH.toml").read_bytes(),
    )
    draft = world.region.draft(now=now)
    draft.admit(application, RegionMember(kind=MemberKind.STATE), holds_root=False)
    signers = {**world.region.signers, "TH": ministry.signer(lambda _: PASS)}
    region = replace(world.region, signers=signers)
    region.enact(draft.proposal(), by=("SG", "MY", "TH"), now=now)
    async with connected(world, "MY") as other, connected(world, "TH") as link:
        await stored(link, "submit.TH.normal.1")
        assert abs(await HubServices(link, "TH").time() - clock.now()) < timedelta(seconds=5)
        await other.publish_acked("submit.MY.normal.1", b"x", msg_id="1")

        renewed = SignKey.generate()
        nats = document.nats.model_copy(update={"account": renewed.public.raw})
        draft = region.draft(now=now)
        path = "members/TH/member.json"
        changed = document.model_copy(update={"nats": nats})
        draft.put_member_files("TH", {path: json_document(changed)})
        region.enact(draft.proposal(), by=("TH",), now=now)
        await until(lambda: not link.connected)
        with pytest.raises(Unreachable):
            await link.wait_connected(1)
        await other.publish_acked("submit.MY.normal.2", b"x", msg_id="2")


@pytest.mark.usefixtures("ready")
async def test_the_operator_suspends_a_connection_for_a_time_and_tells_all(world: World) -> None:
    path, now = world.place.suspensions_file, clock.now()
    async with connected(world, "VN") as suspended, connected(world, "MY") as other:
        write_suspensions(path, Suspensions().suspend("VN", "a stolen server", now=now))
        await until(lambda: not suspended.connected)
        told = await HubServices(other, "MY").notices()
        assert [(notice.member, notice.reason) for notice in told] == [("VN", "a stolen server")]
        assert told[0].until - told[0].at == LASTS
        assert await alarmed(world, other) == [("VN", "a stolen server")]
        ended = (
            read_suspensions(path).entries[0].model_copy(update={"at": now - LASTS, "until": now})
        )
        write_suspensions(path, Suspensions(entries=(ended,)))  # as if 72 hours had gone by
        await suspended.wait_connected(BOUND_S)
        await suspended.publish_acked("submit.VN.normal.1", b"x", msg_id="1")
        assert await HubServices(other, "MY").notices() == ()


async def test_the_server_is_started_again_and_keeps_mail_and_accounts(
    world: World, ready: Ready
) -> None:
    async with connected(world, "SG") as link:
        await link.publish_acked("submit.SG.normal.1", b"kept", msg_id="1")
        assert ready.server_pid is not None
        os.kill(ready.server_pid, signal.SIGKILL)
        await until(lambda: not link.connected)
        await link.wait_connected(BOUND_S)
        await link.publish_acked("submit.SG.normal.2", b"x", msg_id="2")
    secrets = world.place.open_gateway(PASS)
    async with Link(secrets.credentials(world.place, world.config, "gw")) as gateway:
        await gateway.wait_connected(BOUND_S)
        pulled = await gateway.pull("SUBMIT_SG", "GATEWAY-normal", batch=10, timeout_s=5)
        assert [message.payload for message in pulled] == [b"kept", b"x"]


@pytest.mark.usefixtures("ready")
async def test_a_gateways_user_routes_and_changes_no_stream(world: World) -> None:
    secrets = world.place.open_gateway(PASS)
    year = clock.now().year
    async with Link(secrets.credentials(world.place, world.config, "gw")) as gateway:
        await gateway.wait_connected(BOUND_S)
        await gateway.publish_acked("deliver.SG.normal.1", b"x", msg_id="1")
        subject = f"audit.{year}.SG.1"
        await gateway.publish_acked(subject, b"y", msg_id="2", expect_last_subject_seq=0)
        assert await gateway.get_last(f"AUDIT_{year}", subject) is not None
        with pytest.raises(Unreachable):
            await gateway.request("$JS.API.STREAM.PURGE.SUBMIT_SG", b"", timeout_s=0.5)
        with pytest.raises(Unreachable):
            await gateway.publish_acked("submit.SG.normal.1", b"x", msg_id="3", timeout_s=0.5)
    async with connected(world, "SG") as link:
        assert len(await link.pull("INBOX_SG_normal", "normal", batch=9, timeout_s=5)) == 1


async def test_a_stolen_gateways_user_is_let_in_no_more_once_the_hub_starts(world: World) -> None:
    """Nobody who copied the key store acknowledges submissions away, or speaks to the log."""
    stolen = world.place.open_gateway(PASS).credentials(world.place, world.config, "thief")
    async with world.running(), Link(stolen) as thief:
        await thief.wait_connected(BOUND_S)
        shut_out_gateway_user(world.place, PASS, now=clock.now())
    secrets = world.place.open_gateway(PASS)
    credentials = secrets.credentials(world.place, world.config, "gw")
    async with world.running(), Link(stolen) as thief, Link(credentials) as gateway:
        await gateway.wait_connected(BOUND_S)
        await gateway.publish_acked("deliver.SG.normal.1", b"x", msg_id="1")
        with pytest.raises(Unreachable):
            await thief.wait_connected(3.0)
        shut_out_gateway_user(world.place, PASS, now=clock.now())  # the second is forgotten by none
    assert len(world.place.open_hub(PASS).revoked) == 2
    async with world.running(), Link(stolen) as thief, Link(credentials) as second:
        for each in (thief, second):
            with pytest.raises(Unreachable):
                await each.wait_connected(3.0)


async def test_a_worker_that_dies_is_started_again_and_stopped_at_the_end(
    world: World, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    body = f"import os,time; open({str(lives)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"

    def pids() -> list[int]:
        return [int(pid) for pid in lives.read_text().split()] if lives.exists() else []

    async with world.running((sys.executable, "-c", body)):
        await until(lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        await until(lambda: len(pids()) == 2)
    for pid in pids():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_hub_restarted_later_still_admits_and_refuses_the_same(world: World) -> None:
    now = clock.now()
    suspended = Suspensions().suspend("VN", "reason", now=now)
    async with world.running():
        pass
    write_suspensions(world.place.suspensions_file, suspended)
    async with world.running(), connected(world, "SG"), world.link("VN") as link:
        with pytest.raises(Unreachable):
            await link.wait_connected(1)


async def test_a_hub_runs_once_and_others_may_run_its_server(world: World) -> None:
    secrets = world.place.open_hub(PASS)
    write_server(world.place, world.config, secrets, now=clock.now())
    server = Server(world.place.server(world.config))
    await server.start()
    try:
        own = {"nats_url": world.config.public_url}
        world.config = world.config.model_copy(update=own)
        async with world.running() as ready, connected(world, "SG") as link:
            assert ready.server_pid is None
            assert world.place.is_running()
            await link.publish_acked("submit.SG.normal.1", b"x", msg_id="1")
            with pytest.raises(BrokerError, match="runs"):
                async with world.running():
                    pass
        assert not world.place.is_running()
    finally:
        await server.stop()


async def test_a_stream_that_went_back_is_noticed_at_the_next_start(world: World) -> None:
    async with world.running(), connected(world, "SG") as link:
        await link.publish_acked("submit.SG.normal.1", b"x", msg_id="1")
    async with world.running():
        memory = read_memory(world.place.memory_file)
        assert (memory.streams["SUBMIT_SG"].last_seq, memory.went_back) == (1, ())
    shutil.rmtree(world.place.server(world.config).store)  # as a backup put back would do
    async with world.running():
        assert "SUBMIT_SG" in read_memory(world.place.memory_file).went_back


async def test_a_hub_with_a_damaged_memory_starts_once_it_was_begun_anew(world: World) -> None:
    file = world.place.memory_file
    async with world.running():
        raw = file.read_bytes()
    file.write_bytes(raw.replace(b'"last_seq": 0', b'"last_seq": 1', 1))
    assert file.read_bytes() != raw
    with pytest.raises(BrokerError) as refused:
        async with world.running():
            pass
    assert refused.value.code == "damaged"
    await asyncio.to_thread(Machine(world.place.home).good, "hub", "mend")
    async with world.running():
        memory = read_memory(file)
    audits = {name for name in memory.streams if name.startswith("AUDIT_")}
    assert (memory.begun_anew, memory.lost.keys()) == (False, audits)
    assert set(memory.went_back) == audits


async def test_a_purged_inbox_and_a_deleted_decision_are_noticed(world: World) -> None:
    audit, inbox = f"AUDIT_{clock.now().year}", "INBOX_MY_normal"
    credentials = world.place.open_hub(PASS).hub_credentials(world.place, world.config)
    file = world.place.memory_file
    async with world.running(), Link(credentials) as own:
        await own.wait_connected(BOUND_S)
        for number in range(3):
            for subject in (f"deliver.MY.normal.{number}", f"audit.{clock.now().year}.SG.{number}"):
                await own.publish_acked(subject, b"x", msg_id=subject)
        async with asyncio.timeout(3 * REMEMBER_S):
            while read_memory(file).streams[inbox].last_seq < 3:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        assert read_memory(file).went_back == ()
        await own.api(f"STREAM.PURGE.{inbox}", {})
        await own.api(f"STREAM.MSG.DELETE.{audit}", {"seq": 2})
        async with asyncio.timeout(3 * REMEMBER_S):
            while read_memory(file).went_back != (audit, inbox):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        assert read_memory(file).lost == {audit: 3}


NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_a_stream_goes_back_by_age_number_or_absence() -> None:
    def seen(memory: StreamMemory, states: dict[str, StreamState]) -> StreamMemory:
        return memory.seen(states, now=NOW)

    known = seen(StreamMemory(), {"A": StreamState("1", 5), "B": StreamState("1", 5)})
    assert seen(known, {"A": StreamState("1", 5), "B": StreamState("1", 9)}).went_back == ()
    assert seen(known, {"A": StreamState("1", 4), "B": StreamState("1", 5)}).went_back == ("A",)
    assert seen(known, {"A": StreamState("2", 9), "B": StreamState("1", 5)}).went_back == ("A",)
    gone = seen(known, {"B": StreamState("1", 5)})
    assert gone.went_back == ("A",)
    assert seen(gone, {"B": StreamState("1", 6)}).went_back == ("A",)  # until somebody looks
    assert seen(gone.looked_into(), {"B": StreamState("1", 6)}).went_back == ()
    # One for which no server of a cluster speaks is neither gone nor forgotten.
    silent = known.seen({"B": StreamState("1", 6)}, now=NOW, silent={"A"})
    assert (silent.went_back, silent.streams["A"].last_seq) == ((), 5)
    states = {"A": StreamState("1", 4), "B": StreamState("1", 6)}
    assert seen(silent, states).went_back == ("A",)


def test_decisions_that_are_gone_though_nobody_erased_them_are_lost() -> None:
    name, at = "AUDIT_2026", "2026-11-01T00:00:00.5Z"

    def state(last_seq: int, messages: int, oldest: str = at) -> dict[str, StreamState]:
        return {name: StreamState("1", last_seq, messages, oldest=oldest)}

    known = StreamMemory().seen(state(1000, 998), now=NOW)  # two were erased before it began
    assert known.seen(state(1200, 1198), now=NOW).went_back == ()
    lost = known.seen(state(1000, 0, ""), now=NOW)  # as many as ever by its number
    assert (lost.went_back, lost.lost) == ((name,), {name: 1000})
    assert known.seen(state(1200, 1197), now=NOW).went_back == (name,)
    assert lost.looked_into().seen(state(1001, 1), now=NOW).went_back == ()  # said once
    # An erasure is noted, and only then done; what is done beyond it is a loss again.
    noted = Erasures().noted(name, [17, 18]).noted(name, [18])
    before = known.seen(state(1003, 1001), noted, now=NOW)
    assert before.went_back == ()
    done = before.seen(state(1003, 999), noted, now=NOW)
    assert done.went_back == ()
    assert done.seen(state(1003, 998), noted, now=NOW).went_back == (name,)
    assert before.seen(state(1003, 998), noted, now=NOW).went_back == (name,)
    # After 400 days they leave by age.
    old = NOW + AUDIT_AGE - timedelta(hours=1) - (NOW - datetime.fromisoformat(at))
    assert known.seen(state(1200, 900), now=old).went_back == ()


async def test_a_disk_too_small_is_said_before_anything_starts(world: World) -> None:
    world.config = world.config.model_copy(
        update={"store": SMALL.model_copy(update={"inbox_mib": 64 * 1024 * 1024})}
    )
    with pytest.raises(BrokerError, match="room for") as refused:
        async with world.running():
            pass
    assert refused.value.code == "disk-too-small"


def test_a_hub_is_not_made_over_another(world: World) -> None:
    with pytest.raises(BrokerError) as refused:
        init_hub(world.place.home, PASS, world.config, now=clock.now(), log2n=FLOOR_LOG2N)
    assert refused.value.code == "exists"


def test_every_private_file_is_for_its_owner_alone(world: World) -> None:
    files = [path for path in world.place.keys.iterdir() if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert "Key" not in repr(world.place.open_hub(PASS))


def test_a_suspension_ends_by_itself_or_is_lifted() -> None:
    now = clock.now()
    one = Suspensions().suspend("VN", "why", now=now)
    assert set(one.in_force(now)) == {"VN"}
    assert one.in_force(now + LASTS) == {}
    with pytest.raises(BrokerError, match="already"):
        one.suspend("VN", "again", now=now)
    lifted = one.lift("VN", now=now + timedelta(hours=1))
    assert lifted.in_force(now + timedelta(hours=1)) == {}
    assert isinstance(lifted.entries[0], Suspension)
    with pytest.raises(BrokerError, match="not suspended"):
        lifted.lift("VN", now=now + timedelta(hours=2))
