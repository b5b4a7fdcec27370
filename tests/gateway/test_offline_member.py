"""One member is offline for long: its mail fills up, and nobody else waits for it."""

import asyncio
import os
from pathlib import Path

import pytest

from broker import clock
from broker.envelope.decision import parse_delivery
from broker.transport.link import Link
from broker.transport.streams import Sizes
from schemas.receipt import DecisionReceipt, NoticeReceipt, Where, parse_receipt
from tests.support.envelopes import Made, make
from tests.support.gateway import running_gateway, submit
from tests.support.hub import BOUND_S, MIB, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.soak, pytest.mark.timeout(1200)]
COUNT = int(os.environ.get("KENTONG_SOAK_ALERTS", "1000"))  # noqa: TID251 - a test setting
WINDOW = 64  # submissions under way at one time
# TH's share holds about a tenth: then its mail is held, then returned.
SIZES = Sizes(
    submit=64 * MIB,
    inbox=max(2, COUNT // 1000) * MIB,
    held=max(2, COUNT // 1000) * MIB,
    receipt=64 * MIB,
    audit=256 * MIB,
)


async def read_all(link: Link, wanted: int) -> set[str]:
    """MY at work: takes its mail as it comes."""
    seen: set[str] = set()
    while len(seen) < wanted:
        for message in await link.pull("INBOX_MY_normal", "normal", batch=64, timeout_s=5):
            seen.add(str(parse_delivery(message.payload).delivered.frame.label.id))
            await message.ack()
    return seen


async def read_receipts(link: Link, wanted: int) -> tuple[dict[Where, int], int]:
    """SG at work: counts where TH's copies went, and the notices of those returned."""
    where: dict[Where, int] = {}
    notices = 0
    while sum(where.values()) < wanted:
        for message in await link.pull("RECEIPT_SG", "SG", batch=64, timeout_s=5):
            match parse_receipt(message.payload):
                case DecisionReceipt(copies=copies):
                    place = dict(copies)["TH"]
                    where[place] = where.get(place, 0) + 1
                case NoticeReceipt():
                    notices += 1
                case other:
                    pytest.fail(f"not expected: {other}")
            await message.ack()
    return where, notices


async def waiting(link: Link, stream: str) -> int:
    """How many messages a stream holds."""
    info = await link.api(f"STREAM.INFO.{stream}", {})
    return int(info["state"]["messages"])


def sealed(region: TestRegion, number: int) -> Made:
    return make(region, ("MY", "TH"), tail=number + 1, counter=number + 1)


async def test_an_offline_member_delays_nobody(tmp_path: Path) -> None:
    region = make_region(("SG", "MY", "TH"), now=clock.now())
    async with (
        asyncio.timeout(1000),
        running_hub(region, tmp_path / "hub", sizes=SIZES) as hub,
        running_gateway(hub) as gateway,
        hub.member_link("SG") as sg,
        hub.member_link("MY") as my,
    ):
        for link in (sg, my):
            await link.wait_connected(BOUND_S)
        room = asyncio.Semaphore(WINDOW)

        async def send(number: int) -> str:
            made = await asyncio.to_thread(sealed, region, number)
            async with room:
                await submit(sg, made)
            return str(made.label.id)

        async def read_and_look() -> tuple[set[str], int, int]:
            """What MY read; and, at that moment, TH's copies held and SG's alerts undecided."""
            seen = await read_all(my, COUNT)
            return seen, await waiting(gateway, "HELD_TH_SG"), await waiting(gateway, "SUBMIT_SG")

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read_and_look())
            told = group.create_task(read_receipts(sg, COUNT))
            sending = [group.create_task(send(number)) for number in range(COUNT)]
        seen, held, undecided = reading.result()
        assert seen == {task.result() for task in sending}
        # MY had everything while TH's mail was still full: nothing of it had waited for TH.
        assert held > 0
        assert undecided <= WINDOW  # on their way to an ack
        where, notices = told.result()
        assert where[Where.STORED] > 0
        assert where[Where.HELD] > 0
        assert where[Where.BOUNCED] > 0
        assert abs(where[Where.BOUNCED] - notices) <= WINDOW  # the last are on their way
