"""Two gateway workers on the same durable consumers, one of them killed in the middle."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import NODES, DemoRegion
from broker.client import Client
from broker.hub.place import HubPlace
from broker.transport.link import Link
from keys.files import write_private
from schemas.desk import DraftRequest, InboxItem, RecipientState, Submission
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.processes import kill_child, running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400), pytest.mark.slow]
COUNT = 200
SENDERS = 6
BOUND_S = 120
WAIT_S = 3  # before the server asks the other worker for what the killed one had taken


def two_gateways(region: DemoRegion) -> None:
    path = HubPlace(region.hub).config_file
    text = path.read_text()
    assert "gateways = 1" in text
    write_private(path, text.replace("gateways = 1", "gateways = 2").encode())


async def hand_over_soon(link: Link) -> None:
    """Let the server wait less for a worker that vanished."""
    for code in NODES:
        for lane in ("exercise", "control"):
            name = f"SUBMIT_{code}.GATEWAY-{lane}"
            info = await link.api(f"CONSUMER.INFO.{name}", {})
            config = {**info["config"], "ack_wait": WAIT_S * 1_000_000_000}
            body = {"stream_name": f"SUBMIT_{code}", "config": config}
            await link.api(f"CONSUMER.DURABLE.CREATE.{name}", body)


async def send(client: Client, sender: str, number: int) -> Submission:
    request = DraftRequest(
        status=Status.EXERCISE,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=tuple(code for code in NODES if code != sender),
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )
    return (await client.submit(await client.prepare(request))).shown


async def settled(client: Client, submission: Submission) -> Submission:
    while True:
        shown = (await client.status(submission.submission_id)).shown
        if all(each.state.final and each.decided_at for each in shown.recipients):
            return shown
        await asyncio.sleep(0.1)


async def whole_inbox(client: Client) -> list[InboxItem]:
    items: list[InboxItem] = []
    while True:
        page = await client.inbox(since=items[-1].position if items else 0, limit=500)
        items += page.items
        if not page.more:
            return items


async def decisions(link: Link) -> dict[str, int]:
    """How many messages stand on each subject of the record."""
    year = clock.now().year
    body = {"subjects_filter": f"audit.{year}.>"}
    info = await link.api(f"STREAM.INFO.AUDIT_{year}", body)
    return dict(info["state"]["subjects"])


async def test_each_alert_is_decided_once_and_delivered_once(tmp_path: Path) -> None:
    async with running_region(tmp_path / "r", prepare=two_gateways) as (region, processes, clients):
        place = HubPlace(region.hub)
        secrets = place.open_hub(region.passphrase)
        async with (
            Link(secrets.hub_credentials(place, place.config())) as link,
            must_come(BOUND_S, lambda: "not all alerts are decided"),
        ):
            await link.wait_connected()
            await hand_over_soon(link)
            sent: list[tuple[str, Submission]] = []
            numbers = iter(range(COUNT))
            killed: list[bool] = []

            async def send_some() -> None:
                for number in numbers:
                    sender = NODES[number % len(NODES)]
                    sent.append((sender, await send(clients[sender], sender, number)))
                    if len(sent) == COUNT // 2:
                        killed.append(kill_child(processes, "--worker 1"))

            async with asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(send_some())
            assert killed == [True]
            final = [await settled(clients[code], each) for code, each in sent]
            assert len({each.submission_id for each in final}) == COUNT

            wanted: Counter[tuple[str, str]] = Counter()
            for each in final:
                for outcome in each.recipients:
                    assert outcome.state is RecipientState.DELIVERED, outcome.code
                    wanted[outcome.recipient, str(each.id)] += 1
            items = [(code, item) for code in NODES for item in await whole_inbox(clients[code])]
            assert Counter((code, str(item.id)) for code, item in items) == wanted
            assert set(wanted.values()) == {1}
            assert {item.decision.gateway for _, item in items} == {"gateway-1", "gateway-2"}

            record = await decisions(link)
            assert set(record.values()) == {1}
            year = clock.now().year
            own = {
                f"audit.{year}.{code}.{each.id}"
                for (code, _), each in zip(sent, final, strict=True)
            }
            assert own <= record.keys()
            refused = [
                subject
                for subject in record
                if ".malformed." in subject
                or any(subject.startswith(f"{decided}.") for decided in own)
            ]
            assert refused == []  # no id was used twice, no bytes came to harm
