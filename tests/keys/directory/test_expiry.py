"""When people are told that a part of the directory must be signed again."""

from datetime import timedelta

import pytest

from keys.directory import layout
from tests.support.directory import FOUNDERS, RealRegion
from tests.support.region import NOW

TICK = timedelta(milliseconds=1)
DAY = timedelta(days=1)
MEMBERS = [f"member-{code}" for code in sorted(FOUNDERS)]


@pytest.mark.parametrize(
    ("role", "lasts", "before"),
    [
        (layout.ROOT, 365 * DAY, 30 * DAY),
        (layout.TARGETS, 90 * DAY, 10 * DAY),
        (layout.REVOCATIONS, 30 * DAY, 10 * DAY),
        ("member-SG", 30 * DAY, 10 * DAY),
    ],
)
def test_the_alarm_begins_in_time_and_lasts(
    founded: RealRegion, role: str, lasts: timedelta, before: timedelta
) -> None:
    view, end = founded.view(), NOW + lasts
    assert view.expiries[role] == end
    assert role not in {each.role for each in view.expiring(end - before - TICK)}
    assert role in {each.role for each in view.expiring(end - before)}
    assert role in {each.role for each in view.expiring(end + DAY)}


def test_the_most_urgent_comes_first_and_names_who_must_sign(founded: RealRegion) -> None:
    found = founded.view().expiring(NOW + 350 * DAY)
    assert [each.role for each in found] == [*MEMBERS, "revocations", "targets", "root"]
    assert [each.member for each in found] == [*sorted(FOUNDERS), None, None, None]
    assert founded.view().expiring(NOW) == ()


def test_what_is_signed_again_is_silent(region: RealRegion) -> None:
    later = NOW + 25 * DAY
    assert {each.role for each in region.view().expiring(later)} == {*MEMBERS, "revocations"}
    draft = region.draft(later)
    draft.renew("member-SG")
    region.enact(draft, ("SG",), later)
    assert "member-SG" not in {each.role for each in region.view().expiring(later)}


def test_what_the_hub_signs_every_minute_alarms_nobody(founded: RealRegion) -> None:
    assert not {layout.TIMESTAMP, layout.SNAPSHOT} & set(founded.view().expiries)
    assert layout.alarm_before(layout.TIMESTAMP) is None
