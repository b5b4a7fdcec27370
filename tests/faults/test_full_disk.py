"""A node whose disk is full: desks are told to come back, mail waits at the hub, nothing is lost.

The disk is full for one process alone: no file of its own may grow beyond a page, its database,
its write-ahead file and its log included. Source: getrlimit(2), RLIMIT_FSIZE.
"""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import DemoRegion
from broker.client import Client, OutcomeUnknown, SignedDraft
from broker.client.errors import Unavailable
from broker.hub.place import HubPlace
from broker.transport.link import Link
from schemas.desk import DraftRequest, Problem, RecipientState, Submission, SubmitRequest
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.hub import BOUND_S
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]
ROOM_BYTES = 4096


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No room for this process while the block runs."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def desk(region: DemoRegion, code: str) -> Client:
    """A desk without patience, which shows each refusal."""
    return Client(
        url=region.url(code),
        token=region.tokens[code],
        officer_key=region.officer(code),
        patience_s=0,
    )


def asked(number: int) -> DraftRequest:
    return DraftRequest(
        status=Status.EXERCISE,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=("MY",),
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )


async def submitted_by_hand(region: DemoRegion, draft: SignedDraft) -> Problem:
    """The problem document with which the node answers a submission. Source: RFC 9457."""
    body = SubmitRequest(signature=draft.signature, officer_kid=draft.officer_kid)
    transport = httpx.AsyncHTTPTransport(uds=region.url("SG").removeprefix("unix://"))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
        answer = await http.post(
            f"/v1/drafts/{draft.draft_id}/submit",
            content=body.model_dump_json(),
            headers={
                "authorization": f"Bearer {region.tokens['SG']}",
                "content-type": "application/json",
                "idempotency-key": draft.idempotency_key,
            },
        )
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    return problem


async def delivered(client: Client, submission: Submission) -> Submission:
    """The submission once its copy is kept by the recipient."""
    async with must_come(BOUND_S, lambda: "the submission is not delivered"):
        while True:
            shown = (await client.status(submission.submission_id)).shown
            if shown.recipients[0].state is RecipientState.DELIVERED:
                return shown
            await asyncio.sleep(0.05)


async def test_a_desk_is_told_and_what_was_refused_may_be_sent_again(tmp_path: Path) -> None:
    async with (
        running_region(tmp_path / "r") as (region, processes, clients),
        desk(region, "SG") as sg,
    ):
        before = (await sg.submit(await sg.prepare(asked(1)))).shown
        drafts: list[SignedDraft] = [await sg.prepare(asked(number)) for number in (2, 3)]
        pid = processes.pids()["SG"]
        with full_disk(pid):
            for _ in range(3):  # it goes on saying so, and does not die of it
                for draft in drafts:
                    with pytest.raises(OutcomeUnknown) as unknown:
                        await sg.submit(draft)
                    assert (unknown.value.told, unknown.value.retry) == ("disk-full", "later")
                    problem = await submitted_by_hand(region, draft)
                    assert (problem.status, problem.code) == (503, "disk-full")
                    assert problem.retry == "later"
                with pytest.raises(Unavailable) as caught:
                    await sg.prepare(asked(4))
                assert (caught.value.code, caught.value.retry) == ("disk-full", "later")
            # What was acknowledged is there, and nothing that was not.
            page = await sg.outbox()
            assert [each.submission_id for each in page.items] == [before.submission_id]
            await sg.node_status()
        assert processes.pids()["SG"] == pid
        after = [(await sg.submit(draft)).shown for draft in drafts]
        for submission in (before, *after):
            await delivered(sg, submission)
        kept = {item.alert_id for item in (await clients["MY"].inbox()).items}
        assert kept == {each.alert_id for each in (before, *after)}
        assert (await clients["MY"].node_status()).exercise_inbox == 3


async def test_mail_stays_at_the_hub_until_there_is_room(tmp_path: Path) -> None:
    async with running_region(tmp_path / "r") as (region, processes, clients):
        sg, my = clients["SG"], clients["MY"]
        first = (await sg.submit(await sg.prepare(asked(1)))).shown
        await delivered(sg, first)
        pid = processes.pids()["MY"]
        with full_disk(pid):
            second = (await sg.submit(await sg.prepare(asked(2)))).shown
            await refused_once(region)
            shown = (await sg.status(second.submission_id)).shown
            assert shown.recipients[0].state is RecipientState.STORED
            assert shown.recipients[0].delivered_at is None
            assert (await my.node_status()).exercise_inbox == 1
        assert processes.pids()["MY"] == pid
        await delivered(sg, second)
        status = await my.node_status()
        assert (status.exercise_inbox, status.quarantined) == (2, 0)


async def refused_once(region: DemoRegion) -> None:
    """Return once MY gave back what it could not keep, and it was handed out again."""
    place = HubPlace(region.hub)
    secrets = place.open_hub(region.passphrase)
    async with (
        Link(secrets.hub_credentials(place, place.config())) as link,
        must_come(BOUND_S, lambda: "the copy was not handed out again"),
    ):
        await link.wait_connected()
        while True:
            info = await link.api("CONSUMER.INFO.INBOX_MY_exercise.exercise", {})
            if info["num_redelivered"]:
                assert info["num_ack_pending"] == 1
                return
            await asyncio.sleep(0.05)


async def test_a_node_whose_output_has_no_room_starts_and_works_all_the_same(
    tmp_path: Path,
) -> None:
    """Source: full(4)."""
    unheard = ("sh", "-c", 'exec "$@" > /dev/full 2>&1', "sh")
    async with running_region(tmp_path / "r", launchers={"SG": unheard}) as (_, _, clients):
        sent = (await clients["SG"].send(asked(1))).shown
        await delivered(clients["SG"], sent)
