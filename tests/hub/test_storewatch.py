"""What a server says of itself after a full disk, and what the hub does about it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.hub.pulse import Pulse
from broker.hub.storewatch import RENEW_S, ROOM_BYTES, StoreWatch, has_room
from broker.transport.errors import Refused, Unreachable
from broker.transport.link import Link
from broker.transport.server import OWN_NAME
from broker.transport.storing import stores
from tests.support.fulldisk import may_grow, no_growth
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

SOON_S = 0.5  # a publish that is not answered by then is not answered at all
UNHEALTHY = b'{"data":{"status":"unavailable","status_code":503,"error":"%s"}}'


@dataclass
class Stage:
    """A server with one message stored, and who looks after it."""

    hub: RunningHub
    link: Link
    system: Link
    pulse: Pulse

    @property
    def pid(self) -> int:
        assert self.hub.server.pid is not None
        return self.hub.server.pid

    def watch(self, server: str = OWN_NAME) -> StoreWatch:
        return StoreWatch(self.system, (server,), self.pulse)

    async def publish(self, number: int) -> None:
        ident = f"submit.SG.normal.{number}"
        await self.link.publish_acked(ident, bytes(8192), msg_id=ident, timeout_s=SOON_S)

    async def fill(self) -> None:
        """Let the server meet a full disk, and make room at once."""
        no_growth(self.pid)
        with pytest.raises(Unreachable):
            await self.publish(2)
        may_grow(self.pid)

    async def kept(self) -> int:
        info = await self.link.api("STREAM.INFO.SUBMIT_SG", {})
        return int(info["state"]["messages"])


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG",), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        link = await stack.enter_async_context(hub.hub_link())
        system = await stack.enter_async_context(Link(hub.system_credentials()))
        for each in (link, system):
            await each.wait_connected(BOUND_S)
        stage = Stage(hub, link, system, Pulse())
        await stage.publish(1)
        yield stage


@pytest.mark.hub
@pytest.mark.parametrize("server", [OWN_NAME, ""], ids=["by its name", "alone"])
async def test_a_stream_that_met_a_full_disk_is_said_to_store_no_more_until_a_new_start(
    stage: Stage, server: str
) -> None:
    watch = stage.watch(server)
    await watch.look()
    assert stage.pulse.not_storing == frozenset()
    await stage.fill()
    for number in (3, 4):  # there is room again, and nothing is taken all the same
        await watch.look()
        assert stage.pulse.not_storing == {server}
        with pytest.raises(Unreachable):
            await stage.publish(number)
    await stage.hub.restart(stage.link, stage.system, kill=False)
    await watch.look()
    assert stage.pulse.not_storing == frozenset()
    assert await stage.kept() == 1
    await stage.publish(5)
    assert await stage.kept() == 2


@pytest.mark.hub
async def test_another_server_of_the_cluster_does_not_answer_for_it(stage: Stage) -> None:
    await stage.fill()
    watch = stage.watch("kentong")  # part of the name of the one that runs
    await watch.look()
    assert stage.pulse.not_storing == frozenset()


@pytest.mark.hub
async def test_the_hubs_own_is_renewed_once_there_is_room_and_not_twice_at_once(
    stage: Stage,
) -> None:
    renewed: list[str] = []
    room, seconds = [False], [100.0]

    async def renew() -> None:
        renewed.append("")

    watch = StoreWatch(
        stage.system, (OWN_NAME,), stage.pulse, renew, lambda: room[0], lambda: seconds[0]
    )
    await watch.look()
    room[0] = True
    await watch.look()  # nothing is wrong
    assert not renewed
    await stage.fill()
    room[0] = False
    await watch.look()
    assert not renewed
    room[0] = True
    for _ in range(2):
        await watch.look()
    assert len(renewed) == 1
    seconds[0] += RENEW_S
    await watch.look()
    assert len(renewed) == 2


def test_there_is_room_where_a_block_can_be_written_and_none_stays_behind(tmp_path: Path) -> None:
    assert has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not has_room(tmp_path / "away")
    assert ROOM_BYTES > 0


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"data":{"status":"ok","status_code":200}}', True),
        (UNHEALTHY % b"JetStream stream 'HUB > A' write error: no space left on device", False),
        (UNHEALTHY % b"JetStream consumer 'HUB > A > b' critical write error: x", False),
        (UNHEALTHY % b"JetStream not enabled", False),
        (UNHEALTHY % b"JetStream stream 'HUB > A' is not current", True),  # it catches up by itself
    ],
)
def test_only_an_error_of_writing_is_meant(raw: bytes, found: bool) -> None:  # noqa: FBT001 - a case
    assert stores(raw) is found


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"data":1}', b'{"error":{"code":404}}'])
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        stores(raw)
