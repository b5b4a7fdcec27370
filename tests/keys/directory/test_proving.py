"""What a proof of time lets a reader believe: keys stolen after it, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from keys.directory.proving import proved
from keys.directory.restricting import restricted
from keys.directory.view import DirectoryView
from keys.errors import DirectoryError
from schemas.directory import (
    MemberDocument,
    OfficersDocument,
    Revocation,
    RevocationReason,
)
from tests.support.region import NOW, TestRegion, make_region

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
REGION = make_region(("SG", "MY", "VN"))
SG = REGION.members["SG"]
Asked = Callable[[DirectoryView], object]


def all_stolen(region: TestRegion, at: datetime) -> DirectoryView:
    """SG's keys and officers, and the gateway's key, stolen from `at` on."""
    gone = {"revoked_at": at, "reason": RevocationReason.COMPROMISED}

    def document(old: MemberDocument) -> MemberDocument:
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    def officers(old: OfficersDocument) -> OfficersDocument:
        left = tuple(each.model_copy(update=gone) for each in old.officers)
        return old.model_copy(update={"officers": left})

    view = region.changed("SG", document=document, officers=officers)
    gateways = tuple(key.model_copy(update=gone) for key in view.hub.gateway_keys)
    return replace(view, hub=view.hub.model_copy(update={"gateway_keys": gateways}))


ASKED: dict[str, Asked] = {
    "node": lambda view: view.signed_key("SG", SG.kid, decided_at=NOW),
    "officer": lambda view: view.signed_officer("SG", SG.officer_kid, decided_at=NOW),
    "gateway": lambda view: view.gateway_key(REGION.gateway_kid, at=NOW),
}


def refused(view: DirectoryView, asked: Asked) -> str:
    with pytest.raises(DirectoryError) as caught:
        asked(view)
    return caught.value.code


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_existed_before_the_theft_is_believed_and_nothing_later(asked: Asked) -> None:
    view = all_stolen(REGION, NOW + HOUR)
    assert refused(view, asked).endswith("-revoked-since")
    assert asked(proved(view, by=NOW + HOUR))
    assert refused(proved(view, by=NOW + HOUR + SECOND), asked).endswith("-revoked-since")


def test_a_proof_does_not_hide_that_a_key_ended() -> None:
    view = proved(all_stolen(REGION, NOW + HOUR), by=NOW)
    assert view.verification_standing("SG", SG.kid).ended_since(at=NOW)
    assert view.gateway_standing(REGION.gateway_kid).ended_since(at=NOW)
    assert view.member("SG").certified[SG.officer_kid].standing.ended_since(at=NOW)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_was_decided_after_the_revocation_stays_refused(asked: Asked) -> None:
    view = proved(all_stolen(REGION, NOW), by=NOW)
    assert refused(view, asked).endswith("-revoked")


def test_the_earlier_of_two_revocations_counts() -> None:
    one = Revocation(member="SG", kid=SG.kid, at=NOW + SECOND, reason=RevocationReason.SUSPENDED)
    region = replace(REGION, view=all_stolen(REGION, NOW + HOUR))
    view = region.changed("SG", revocations=(one,))
    assert ASKED["node"](proved(view, by=NOW + SECOND))
    assert refused(proved(view, by=NOW + 2 * SECOND), ASKED["node"]) == "key-revoked-since"


@pytest.mark.parametrize("key", ["node", "officer"])
def test_no_time_bounds_the_theft_of_a_whole_member(key: str) -> None:
    whole = Revocation(member="SG", at=NOW + HOUR, reason=RevocationReason.LOST)
    region = replace(REGION, view=all_stolen(REGION, NOW + HOUR))
    newer = region.changed("SG", revocations=(whole,))
    for view in (newer, restricted(REGION.view, newer, fresh_until=NOW)):
        assert refused(proved(view, by=NOW), ASKED[key]).endswith("-revoked-since")
