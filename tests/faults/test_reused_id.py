"""Other bytes under a decided id, when the server itself has forgotten the first ones."""

import asyncio
from pathlib import Path

import pytest

from broker import clock
from broker.envelope.decision import parse_delivery, verify_decision
from broker.log.audited import parse_audited
from broker.transport.link import Link
from schemas.decision import parse_decision
from schemas.receipt import DecisionReceipt
from tests.support.envelopes import make
from tests.support.gateway import mail, no_mail, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, running_hub
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]
WINDOW_NS = 100_000_000  # the least that the server allows


async def shorten_window(link: Link, stream: str) -> None:
    """Let the server forget the stream's message ids after a tenth of a second."""
    found = await link.api(f"STREAM.INFO.{stream}", {})
    await link.api(f"STREAM.UPDATE.{stream}", {**found["config"], "duplicate_window": WINDOW_NS})


async def forgotten(link: Link, subject: str, payload: bytes) -> None:
    """Return once the server takes a message id of `SUBMIT_SG` a second time."""
    await link.publish_acked(subject, payload, msg_id="probe")
    while (await link.publish_acked(subject, payload, msg_id="probe")).duplicate:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_it_is_refused_after_the_servers_window_and_its_restart(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    first, second, third = (make(region, ("MY",)) for _ in range(3))
    assert len({made.label.id for made in (first, second, third)}) == 1
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub) as gateway,
        hub.member_link("SG") as sg,
        hub.member_link("MY") as my,
    ):
        links = (gateway, sg, my)
        for link in links:
            await link.wait_connected(BOUND_S)
        year = first.label.created.year
        for stream in ("SUBMIT_SG", "INBOX_MY_normal", "RECEIPT_SG", f"AUDIT_{year}"):
            await shorten_window(gateway, stream)
        await submit(sg, first)
        await receipt(sg)
        assert (await mail(my, "MY")).delivered.frame.digest == first.sealed.digest
        subject = f"submit.SG.normal.{first.label.id}"

        for again, restarted in ((second, False), (third, True)):
            if restarted:
                await hub.restart(kill=True)
                for link in links:
                    await link.wait_connected(BOUND_S)
            # The first bytes themselves, under message ids that the server knew once.
            await forgotten(sg, subject, first.sealed.raw)
            await submit(sg, again)
            while True:
                told = await receipt(sg)
                assert isinstance(told, DecisionReceipt)
                decision = parse_decision(told.decision)
                verify_decision(decision, region.view)
                if decision.header.digest == again.sealed.digest:
                    break
                assert decision.header.digest == first.sealed.digest  # the standing one, repeated
            assert (decision.header.code, told.copies) == ("id-reused", ())
            kept = await gateway.get_last(
                f"AUDIT_{year}", f"audit.{year}.SG.{first.label.id}.{again.sealed.digest.hex()}"
            )
            assert kept is not None
            for message in await my.pull("INBOX_MY_normal", "normal", batch=9, timeout_s=0.5):
                # At most what was accepted once, repeated: the recipient's node keeps it once.
                copy = parse_delivery(message.payload).delivered
                assert copy.frame.digest == first.sealed.digest
                await message.ack()
        standing = await gateway.get_last(f"AUDIT_{year}", f"audit.{year}.SG.{first.label.id}")
        assert standing is not None
        assert (
            parse_audited(standing.payload).open(region.record_keys).decision.header.digest
            == first.sealed.digest
        )
        await no_mail(my, "MY")
