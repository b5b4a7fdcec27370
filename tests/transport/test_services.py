"""What a member asks of the hub, with answers that are whole, in pieces, missing, or hostile."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker.errors import BrokerError
from broker.hub.services import BURST, MemberServices
from broker.transport.errors import Refused
from broker.transport.link import Link
from broker.transport.services import MAX_PIECE_BYTES, HubServices, Notice, piece_of, read_fields
from keys.directory.repository import DirectoryRepository
from schemas import canonical
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

pytestmark = pytest.mark.hub
LIMIT = 4 * MAX_PIECE_BYTES
START = datetime(2026, 11, 1, tzinfo=UTC)
NOTICE = Notice("MY", "a stolen server", START, START + timedelta(hours=72))


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(make_region(("SG",)), tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def link(hub: RunningHub) -> AsyncIterator[Link]:
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield link


@pytest_asyncio.fixture
async def asking(hub: RunningHub) -> AsyncIterator[HubServices]:
    async with hub.member_link("SG") as link:
        await link.wait_connected(BOUND_S)
        yield HubServices(link, "SG")


@pytest.mark.parametrize("size", [0, 1, MAX_PIECE_BYTES, MAX_PIECE_BYTES + 1, LIMIT])
async def test_a_file_arrives_whole(link: Link, asking: HubServices, size: int) -> None:
    raw = bytes(number % 251 for number in range(size))

    async def answer(_: str, payload: bytes) -> bytes:
        offset = read_fields(payload)["offset"]
        assert isinstance(offset, int)
        return piece_of(raw, offset)

    await link.serve("hub.*.dir.>", answer)
    assert await asking.read("metadata/timestamp.json", max_bytes=LIMIT) == raw
    if size > 1:
        with pytest.raises(Refused):
            await asking.read("metadata/timestamp.json", max_bytes=size - 1)


HOSTILE = (
    b"",
    b"not canonical",
    canonical.encode([1]),
    canonical.encode({"error": "other"}),
    canonical.encode({"size": 5, "offset": 0, "data": b""}),
    canonical.encode({"size": 5, "offset": 1, "data": b"x"}),
    canonical.encode({"size": 2**40, "offset": 0, "data": b"x"}),
    canonical.encode({"ms": -1}),
    canonical.encode({"ms": 2**60}),
    canonical.encode({"suspended": [["MY", "why", 5, 4]]}),
    canonical.encode({"suspended": ["MY"]}),
    canonical.encode({"suspended": [["my", "why", 5, 6]]}),
    canonical.encode({"suspended": [["MY", "", 5, 6]]}),
    canonical.encode({"suspended": [["MY", "clear\x1b[2J", 5, 6]]}),
    canonical.encode({"suspended": [["MY", "w" * 201, 5, 6]]}),
)


async def test_hostile_answers_are_refused(link: Link, asking: HubServices) -> None:
    said = [b""]

    async def hostile(_: str, __: bytes) -> bytes:
        return said[0]

    await link.serve("hub.>", hostile)
    for answer in HOSTILE:
        said[0] = answer
        with pytest.raises(Refused):
            await asking.read("metadata/x.json", max_bytes=LIMIT)
        with pytest.raises(Refused):
            await asking.time()
        with pytest.raises(Refused):
            await asking.notices()


async def test_the_hub_answers_within_its_rate_and_then_asks_to_wait(
    link: Link, asking: HubServices, tmp_path: Path
) -> None:
    repository = DirectoryRepository(tmp_path / "directory", pinned_root=b"")
    await MemberServices(repository, lambda _: (NOTICE,)).serve(link)
    assert await asking.notices() == (NOTICE,)
    assert await asking.read("metadata/timestamp.json", max_bytes=LIMIT) is None
    with pytest.raises(BrokerError) as refused:
        await _ask_often(asking)
    assert (refused.value.code, refused.value.retry) == ("busy", "later")


async def _ask_often(asking: HubServices) -> None:
    for _ in range(int(BURST) * 2):
        await asking.time()
