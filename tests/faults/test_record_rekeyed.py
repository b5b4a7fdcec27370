"""The record key is replaced under traffic, a worker killed: nothing waits, nothing is twice."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.region import NODES
from broker.hub.place import HubPlace
from broker.log.audited import parse_audited
from broker.log.recordkeys import RecordKeys
from broker.transport.link import Link
from schemas.decision import Decision
from schemas.desk import RecipientState, Submission
from tests.cli.test_revocations import good
from tests.faults.test_two_workers import (
    BOUND_S,
    decisions,
    hand_over_soon,
    send,
    settled,
    two_gateways,
    whole_inbox,
)
from tests.support.processes import kill_child, running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400), pytest.mark.slow]
COUNT = 20


async def opened(link: Link, keys: RecordKeys) -> dict[str, tuple[bytes, Decision]]:
    """The decisions on ids, and under which key each lies."""
    found = {}
    for subject in await decisions(link):
        parts = subject.split(".")
        if len(parts) == 4 and parts[2] in NODES:  # one of an id, by nothing else beside it
            stored = await link.get_last(f"AUDIT_{clock.now().year}", subject)
            assert stored is not None
            record = parse_audited(stored.payload)
            found[subject] = (record.key, record.open(keys).decision)
    return found


async def test_each_alert_and_each_answer_is_carried_through_over_a_rotation(
    tmp_path: Path,
) -> None:
    async with running_region(tmp_path / "r", prepare=two_gateways) as (region, processes, clients):
        place = HubPlace(region.hub)
        old = place.open_records(region.passphrase).current
        hub = place.open_hub(region.passphrase).hub_credentials(place, place.config())
        async with Link(hub) as link, must_come(BOUND_S, lambda: "not all alerts are decided"):
            await link.wait_connected()
            await hand_over_soon(link)
            sent: list[tuple[str, Submission]] = []

            async def send_some(count: int) -> None:
                for number in range(len(sent), len(sent) + count):
                    sender = NODES[number % len(NODES)]
                    sent.append((sender, await send(clients[sender], sender, number)))

            await send_some(COUNT)
            await asyncio.to_thread(good, region, region.hub, "hub", "rekey-record")
            # Started again it seals under the new key; the other one is never stopped.
            assert kill_child(processes, "--worker 1")
            keys = place.open_records(region.passphrase)
            while keys.current.name not in {key for key, _ in (await opened(link, keys)).values()}:
                await send_some(2)
            await send_some(COUNT)
            final = [await settled(clients[code], each) for code, each in sent]
            for each in final:
                states = {outcome.state for outcome in each.recipients}
                assert states == {RecipientState.DELIVERED}  # answers about every record passed
            items = [(code, item) for code in NODES for item in await whole_inbox(clients[code])]
            assert set(Counter((code, item.id) for code, item in items).values()) == {1}
            records = await opened(link, keys)
        assert {key for key, _ in records.values()} == {old.name, keys.current.name}
        year = clock.now().year
        for (code, _), each in zip(sent, final, strict=True):
            assert f"audit.{year}.{code}.{each.id}" in records
        raw = [path.read_bytes() for path in (place.folder / "server").rglob("AUDIT_*/**/*")
               if path.is_file()]  # fmt: skip
        assert raw
        for _, decision in records.values():
            secrets = [decision.salts.route, decision.header_bytes]
            secrets += [shown.salt for shown in decision.openings if shown is not None]
            assert not [each for each in secrets if any(each in block for block in raw)]
