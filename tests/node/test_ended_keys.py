"""Keys that ended between two moments: shown to the reader, and not sealed with."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from broker import clock
from schemas.desk import SubmissionState
from schemas.directory import MemberDocument, OfficersDocument, RevocationReason
from tests.support.envelopes import delivery, make
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, send
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]
DAY = timedelta(days=1)
SOON = timedelta(minutes=1)


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(make_region(("SG", "MY"), now=clock.now()), tmp_path / "hub") as hub:
        yield hub


def ended(region: TestRegion, reason: RevocationReason) -> dict[str, object]:
    return {"revoked_at": region.now + SOON, "reason": reason}


async def test_an_alert_under_keys_that_ended_since_is_shown_as_such(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region

    def document(old: MemberDocument) -> MemberDocument:
        gone = ended(region, RevocationReason.SUPERSEDED)
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    def officers(old: OfficersDocument) -> OfficersDocument:
        gone = ended(region, RevocationReason.LEFT_SERVICE)
        left = tuple(officer.model_copy(update=gone) for officer in old.officers)
        return old.model_copy(update={"officers": left})

    made = make(region, ("MY",))
    async with opened_node(hub, "MY", tmp_path) as my:
        my.present.take(region.changed("SG", document=document, officers=officers))
        assert await my.incoming.take(delivery(region, made.sealed.raw, "MY"))
        (item,) = (await my.inbox()).items
        assert {"key-revoked-since", "officer-revoked-since"} <= set(item.warnings)


async def test_an_alert_whose_keys_end_after_it_arrived_is_shown_as_such_from_then_on(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region

    def document(old: MemberDocument) -> MemberDocument:
        gone = ended(region, RevocationReason.COMPROMISED)
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    def officers(old: OfficersDocument) -> OfficersDocument:
        gone = ended(region, RevocationReason.LEFT_SERVICE)
        left = tuple(officer.model_copy(update=gone) for officer in old.officers)
        return old.model_copy(update={"officers": left})

    made = make(region, ("MY",))
    async with opened_node(hub, "MY", tmp_path) as my:
        assert await my.incoming.take(delivery(region, made.sealed.raw, "MY"))
        (before,) = (await my.inbox()).items
        assert not {"key-revoked-since", "officer-revoked-since"} & set(before.warnings)
        my.present.take(region.changed("SG", document=document))
        assert "key-revoked-since" in (await my.item(before.id)).warnings
        my.present.take(region.changed("SG", document=document, officers=officers))
        (after,) = (await my.inbox()).items
        assert {"key-revoked-since", "officer-revoked-since"} <= set(after.warnings)


async def test_an_alert_under_a_key_stolen_since_is_quarantined_and_its_sender_told(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region

    def document(old: MemberDocument) -> MemberDocument:
        gone = ended(region, RevocationReason.COMPROMISED)
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    made = make(region, ("MY",))
    async with opened_node(hub, "MY", tmp_path) as my:
        my.present.take(region.changed("SG", document=document))
        assert await my.incoming.take(delivery(region, made.sealed.raw, "MY"))
        status = await my.status()
        assert (status.inbox, status.quarantined) == (0, 1)
        assert [alarm.code for alarm in status.alarms] == ["quarantined-key-revoked-since"]
        await my.link.wait_connected()
        assert await my.outgoing.submit_due() == 1  # the answer: `rejected`, with the code


async def test_an_alert_whose_officer_was_revoked_before_it_was_sealed_waits_for_a_person(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region

    def officers(old: OfficersDocument) -> OfficersDocument:
        gone = {"revoked_at": region.now, "reason": RevocationReason.COMPROMISED}
        left = tuple(officer.model_copy(update=gone) for officer in old.officers)
        return old.model_copy(update={"officers": left})

    async with opened_node(hub, "SG", tmp_path) as sg:
        submission = await send(sg, region, request(region, ("MY",)))
        sg.present.take(region.changed("SG", officers=officers))
        await sg.outgoing.seal_due()
        shown = await sg.submission(submission.submission_id)
        assert (shown.state, shown.attention) == (
            SubmissionState.NEEDS_ATTENTION,
            "officer-revoked",
        )


async def test_what_must_be_signed_again_soon_is_logged_once_a_day(
    hub: RunningHub, tmp_path: Path
) -> None:
    now = Clock()
    now.stopped = hub.region.now
    soon = {"member-SG": hub.region.now + timedelta(days=9), "root": hub.region.now + 31 * DAY}
    async with opened_node(hub, "MY", tmp_path, now=now) as my:
        my.present.take(replace(hub.region.view, expiries=soon))
        said = []
        for _ in range(3):
            with capture_logs() as logs:
                my.upkeep.say_expiring()
                my.upkeep.say_expiring()
            said.append([each["role"] for each in logs])
            now.stopped += DAY
        assert said == [["member-SG"], ["member-SG", "root"], ["member-SG", "root"]]
        assert logs[0]["event"] == "directory-expires-soon"
        assert logs[0]["expires_at"] == soon["member-SG"].isoformat()
