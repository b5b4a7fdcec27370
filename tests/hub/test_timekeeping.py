"""When a hub believes its clock: by the clock nobody can set, by the last time, by members."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from broker import clock
from broker.clock import Reading
from broker.errors import BrokerError
from broker.hub.timekeeping import (
    DRIFT,
    JUMPED,
    NOTED,
    UNEXPLAINED,
    Timekeeper,
    TimeKept,
    believe,
    is_believed,
    read_time,
    shown_by_members,
)
from broker.store.digested import write_digested
from broker.transport.link import Link
from tests.support.hub import BOUND_S, running_hub
from tests.support.labels import uuid7_at
from tests.support.region import make_region

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEPT = TimeKept(at=NOW, boot="a", elapsed_s=1000.0)
DAY = timedelta(days=1)
LITTLE = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("ahead", "boot", "elapsed", "shown", "doubted"),
    [
        (timedelta(0), "a", timedelta(0), None, False),
        (UNEXPLAINED, "a", timedelta(0), None, False),
        (UNEXPLAINED + LITTLE, "a", timedelta(0), None, True),
        (90 * DAY, "a", timedelta(0), None, True),
        (90 * DAY, "a", 90 * DAY, None, False),  # it stood still all the while
        (-UNEXPLAINED - LITTLE, "a", timedelta(0), None, True),
        (timedelta(0), "a", DAY, None, True),  # the clock stood still, or went back
        (UNEXPLAINED, "b", timedelta(0), None, False),  # started anew, and soon
        (UNEXPLAINED + LITTLE, "b", timedelta(0), None, True),
        (3 * DAY, "b", 3 * DAY, None, True),  # counted since another start: it shows nothing
        (3 * DAY, "b", timedelta(0), 3 * DAY - UNEXPLAINED, False),
        (3 * DAY, "b", timedelta(0), 3 * DAY - UNEXPLAINED - LITTLE, True),
        (90 * DAY, "a", timedelta(0), 90 * DAY, False),  # a machine that slept uncounted
        (-DAY, "b", timedelta(0), DAY, True),
        (3 * DAY, "", 3 * DAY, None, True),  # a system that names no start
    ],
)
def test_a_time_is_believed_only_as_far_as_something_explains_it(
    ahead: timedelta, boot: str, elapsed: timedelta, shown: timedelta | None, *, doubted: bool
) -> None:
    kept = KEPT if boot else KEPT.model_copy(update={"boot": ""})
    read = Reading(NOW + ahead, boot, 1000.0 + elapsed.total_seconds())
    assert kept.doubts(read, None if shown is None else NOW + shown) is doubted


@dataclass
class Clocks:
    """Two clocks of one machine, one of which a test sets, and what members show."""

    ahead: timedelta = timedelta(0)
    elapsed: timedelta = timedelta(0)
    shown: datetime | None = None
    asked: int = 0
    boot: str = "a"

    def read(self) -> Reading:
        seconds = 1000.0 + self.elapsed.total_seconds()
        return Reading(NOW + self.elapsed + self.ahead, self.boot, seconds)

    async def others(self) -> datetime | None:
        self.asked += 1
        return self.shown


async def test_a_jump_is_noticed_before_anybody_looks_and_ends_with_it(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    assert not keeper.is_good()  # nothing was looked at
    await keeper.look()
    assert keeper.is_good()
    clocks.elapsed = 3 * DAY
    assert keeper.is_good()
    clocks.ahead = 90 * DAY
    assert not keeper.is_good()
    await keeper.look()
    assert not keeper.is_good()
    clocks.ahead = timedelta(0)
    await keeper.look()
    assert keeper.is_good()


async def test_looking_again_makes_a_wrong_time_no_truer(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    clocks.ahead = 90 * DAY
    for _ in range(3):
        await keeper.look()
        assert not keeper.is_good()
        assert not is_believed(keeper.path, clocks.read())
    again = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await again.look()
    assert not again.is_good()


async def test_small_jumps_do_not_add_up_to_a_large_one(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    clocks.ahead = UNEXPLAINED - LITTLE
    clocks.elapsed += timedelta(seconds=10)
    await keeper.look()
    assert keeper.is_good()
    clocks.ahead += UNEXPLAINED
    clocks.elapsed += timedelta(seconds=10)
    assert not keeper.is_good()
    await keeper.look()
    assert not keeper.is_good()
    assert clocks.asked == 1


async def test_a_clock_that_drifts_is_followed(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    for _ in range(400):
        clocks.elapsed += DAY
        clocks.ahead += DRIFT
        await keeper.look()
        assert keeper.is_good()
    assert clocks.asked == 0


async def test_a_start_after_a_long_night_waits_for_what_members_show(tmp_path: Path) -> None:
    clocks = Clocks()
    await Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read).look()
    assert clocks.asked == 0
    clocks.boot, clocks.ahead = "b", 3 * DAY
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    assert not keeper.is_good()
    clocks.shown = NOW  # what was sent before it
    await keeper.look()
    assert not keeper.is_good()
    clocks.shown = NOW + 3 * DAY - timedelta(minutes=1)
    await keeper.look()
    assert keeper.is_good()
    assert is_believed(keeper.path, clocks.read())


async def test_an_operator_may_say_that_it_is_right(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    clocks.ahead = 3 * DAY
    await keeper.look()
    assert not keeper.is_good()
    believe(keeper.path, clocks.read())
    await keeper.look()
    assert keeper.is_good()


async def test_what_cannot_be_read_is_no_reason_to_believe(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    await keeper.look()
    keeper.path.write_bytes(b"{")
    with pytest.raises(BrokerError, match="damaged"):
        await keeper.look()
    assert not keeper.is_good()


def test_a_machine_that_was_never_a_hub_knows_no_earlier_time(tmp_path: Path) -> None:
    assert read_time(tmp_path / "clock.json") is None
    assert is_believed(tmp_path / "clock.json", clock.reading())


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield link


async def sent(link: Link, member: str, at: datetime, rest: str = "") -> None:
    """A record of what `member` handed in at this time by its own clock."""
    year = clock.now().year
    subject = f"audit.{year}.{member}.{uuid7_at(at)}{rest}"
    await link.publish_acked(subject, b"x", msg_id=subject)


@pytest.mark.hub
async def test_two_members_must_show_a_time_and_the_earlier_of_them_counts(link: Link) -> None:
    now = clock.now().replace(microsecond=0)
    members = ("SG", "MY", "VN")
    streams = (f"AUDIT_{now.year}", f"AUDIT_{now.year - 1}", "INBOX_SG_normal")

    async def shown() -> datetime | None:
        async with asyncio.timeout(BOUND_S):
            return await shown_by_members(link, streams, members)

    assert await shown() is None
    await sent(link, "SG", now)
    await sent(link, "SG", now - DAY, ".once")  # under another subject of the same member
    assert await shown() is None  # one alone may lie
    await sent(link, "MY", now - timedelta(hours=2))
    assert await shown() == now - timedelta(hours=2)
    await sent(link, "VN", now + DAY)  # no gateway let that through
    assert await shown() == now - timedelta(hours=2)
    await sent(link, "MY", now)
    assert await shown() == now
    await link.publish_acked(f"audit.{now.year}.VN.no-id", b"x", msg_id="no-id")
    assert await shown() == now


def jumps(said: Sequence[Mapping[str, object]]) -> list[object]:
    return [line["skew_s"] for line in said if line.get("alarm") == JUMPED]


async def test_each_jump_of_the_clock_is_said_once_there_and_back(tmp_path: Path) -> None:
    clocks, wrong = Clocks(), timedelta(minutes=10)
    keeper = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
    with capture_logs() as said:
        for ahead in (timedelta(0), NOTED, timedelta(0), wrong, wrong, timedelta(0), -wrong):
            clocks.ahead = ahead
            clocks.elapsed += timedelta(seconds=10)
            await keeper.look()
        assert jumps(said) == [600, -600, -600]
        for ahead in (-wrong, timedelta(0), timedelta(0)):  # each a start of its own
            clocks.ahead = ahead
            again = Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read)
            await again.look()
        assert jumps(said) == [600, -600, -600, 600]
        clocks.boot, clocks.ahead = "b", wrong  # nothing counted while the machine was off
        await Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read).look()
        assert jumps(said) == [600, -600, -600, 600]


async def test_what_an_older_version_wrote_shows_no_jump(tmp_path: Path) -> None:
    clocks = Clocks()
    believe(tmp_path / "clock.json", clocks.read())
    kept = read_time(tmp_path / "clock.json")
    assert kept is not None
    write_digested(tmp_path / "clock.json", kept.model_copy(update={"shown": None}))
    clocks.ahead = timedelta(minutes=10)
    with capture_logs() as said:
        await Timekeeper(tmp_path / "clock.json", clocks.others, clocks.read).look()
    assert jumps(said) == []
