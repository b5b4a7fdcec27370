"""What a directory view answers, and refuses, about members, keys and officers."""

from datetime import timedelta

import pytest

from keys.directory.view import DirectoryView
from keys.epochs import bounds, wanted
from keys.errors import DirectoryError
from keys.kid import kid_of
from schemas.directory import (
    MemberDocument,
    OfficersDocument,
    Revocation,
    RevocationReason,
)
from tests.support.region import NOW, TestRegion, make_region

LATER = NOW + timedelta(days=1)
WHY = RevocationReason.COMPROMISED


@pytest.fixture(scope="module")
def region() -> TestRegion:
    return make_region()


def _code(refused: pytest.ExceptionInfo[DirectoryError]) -> str:
    return refused.value.code


def test_a_view_is_stale_from_the_instant_its_timestamp_expires(region: TestRegion) -> None:
    until = region.view.fresh_until
    region.view.check_fresh(until - timedelta(milliseconds=1))
    with pytest.raises(DirectoryError) as refused:
        region.view.check_fresh(until)
    assert _code(refused) == "directory-expired"


def test_members_and_groups_are_what_the_threshold_signed() -> None:
    view = make_region(("SG", "MY", "INTERPOL"), groups={"mekong": ["MY"]}).view
    assert view.members() == ("INTERPOL", "MY", "SG")
    assert view.groups() == {
        "asean": frozenset({"MY", "SG"}),
        "partners": frozenset({"INTERPOL"}),
        "mekong": frozenset({"MY"}),
    }


def test_policies_may_name_members_states_and_groups_and_nobody_else() -> None:
    names = make_region(("SG", "INTERPOL"), groups={"mekong": ["SG"]}).view.names()
    assert {"SG", "INTERPOL", "TL"} <= names.members
    assert names.groups == {"asean", "partners", "mekong"}
    assert names.members.isdisjoint({"TW", "EUROPOL"})


def test_what_is_not_in_the_directory_is_refused(region: TestRegion) -> None:
    view, stranger = region.view, bytes(16)
    foreign = region.members["MY"].kid
    for ask, code in (
        (lambda: view.member("XX"), "unknown-member"),
        (lambda: view.verification_key("XX", stranger, at=NOW), "unknown-member"),
        (lambda: view.verification_key("SG", stranger, at=NOW), "unknown-key"),
        (lambda: view.verification_key("SG", foreign, at=NOW), "unknown-key"),
        (lambda: view.officer("SG", region.members["MY"].officer_kid, at=NOW), "unknown-officer"),
        (lambda: view.gateway_key(foreign, at=NOW), "unknown-key"),
    ):
        with pytest.raises(DirectoryError) as refused:
            ask()
        assert _code(refused) == code


def test_content_is_sealed_to_the_epoch_of_the_day(region: TestRegion) -> None:
    kids = list(region.members["SG"].open_keys)
    for epoch, kid in zip(wanted(NOW), kids, strict=True):
        start, end = bounds(epoch)
        assert region.view.encryption_key("SG", at=start)[0] == kid
        assert region.view.encryption_key("SG", at=end - timedelta(milliseconds=1))[0] == kid
    with pytest.raises(DirectoryError) as refused:
        region.view.encryption_key("SG", at=bounds(wanted(NOW)[-1])[1])
    assert _code(refused) == "no-encryption-key"


def test_an_envelope_sealed_in_the_last_minute_of_an_epoch_is_decided_in_the_next(
    region: TestRegion,
) -> None:
    kid = next(iter(region.members["SG"].open_keys))
    end = bounds(wanted(NOW)[0])[1]
    before, after = end - timedelta(minutes=1), end + timedelta(minutes=1)
    region.view.check_sealed_to("SG", kid, sealed_at=before, at=after)
    with pytest.raises(DirectoryError) as refused:
        region.view.check_sealed_to("SG", kid, sealed_at=after, at=after)
    assert _code(refused) == "key-expired"


def _suspended(region: TestRegion, kid: bytes | None) -> DirectoryView:
    entry = Revocation(member="SG", kid=kid, at=LATER, reason=WHY)
    return region.changed("SG", revocations=[entry])


def test_a_suspended_member_neither_signs_nor_receives(region: TestRegion) -> None:
    member, view = region.members["SG"], _suspended(region, None)
    view.verification_key("SG", member.kid, at=NOW)
    assert view.member("SG").suspended_at == LATER
    for ask in (
        lambda: view.verification_key("SG", member.kid, at=LATER),
        lambda: view.encryption_key("SG", at=LATER),
        lambda: view.officer("SG", member.officer_kid, at=LATER),
        lambda: view.check_sealed_to("SG", next(iter(member.open_keys)), sealed_at=NOW, at=LATER),
    ):
        with pytest.raises(DirectoryError) as refused:
            ask()
        assert _code(refused) == "member-suspended"


def test_a_key_suspended_by_others_ends_alone(region: TestRegion) -> None:
    member = region.members["SG"]
    view = _suspended(region, member.kid)
    view.officer("SG", member.officer_kid, at=LATER)
    assert view.verification_standing("SG", member.kid).revoked_at == LATER
    with pytest.raises(DirectoryError) as refused:
        view.verification_key("SG", member.kid, at=LATER)
    assert _code(refused) == "key-revoked"


def test_another_members_suspension_changes_nothing(region: TestRegion) -> None:
    entry = Revocation(member="MY", at=NOW, reason=WHY)
    view = region.changed("SG", revocations=[entry])
    view.verification_key("SG", region.members["SG"].kid, at=LATER)


def test_a_revoked_encryption_key_is_passed_over_and_refused(region: TestRegion) -> None:
    kid = next(iter(region.members["SG"].open_keys))

    def revoke_current(document: MemberDocument) -> MemberDocument:
        keys = tuple(
            key.model_copy(update={"revoked_at": LATER, "reason": WHY})
            if kid_of(key.key) == kid
            else key
            for key in document.encryption_keys
        )
        return document.model_copy(update={"encryption_keys": keys})

    view = region.changed("SG", document=revoke_current)
    view.check_sealed_to("SG", kid, sealed_at=NOW, at=NOW)
    with pytest.raises(DirectoryError) as refused:
        view.check_sealed_to("SG", kid, sealed_at=NOW, at=LATER)
    assert _code(refused) == "key-revoked"
    with pytest.raises(DirectoryError) as refused:
        view.encryption_key("SG", at=LATER)
    assert _code(refused) == "no-encryption-key"


def test_a_revoked_officer_is_told_apart_from_an_unknown_one(region: TestRegion) -> None:
    kid = region.members["SG"].officer_kid

    def revoke(document: OfficersDocument) -> OfficersDocument:
        officers = tuple(
            officer.model_copy(update={"revoked_at": LATER, "reason": WHY})
            for officer in document.officers
        )
        return document.model_copy(update={"officers": officers})

    view = region.changed("SG", officers=revoke)
    assert view.officer("SG", kid, at=NOW).id == "SG-7Q4"
    with pytest.raises(DirectoryError) as refused:
        view.officer("SG", kid, at=LATER)
    assert _code(refused) == "officer-revoked"


def test_a_document_that_names_another_member_makes_no_view(region: TestRegion) -> None:
    with pytest.raises(DirectoryError) as refused:
        region.changed("SG", document=lambda d: d.model_copy(update={"member": "MY"}))
    assert _code(refused) == "wrong-member"


def test_a_key_that_is_none_makes_no_view(region: TestRegion) -> None:
    def spoil(document: MemberDocument) -> MemberDocument:
        key = document.encryption_keys[0].model_copy(update={"key": b"\xff" * 1216})
        return document.model_copy(update={"encryption_keys": (key,)})

    with pytest.raises(DirectoryError) as refused:
        region.changed("SG", document=spoil)
    assert _code(refused) == "bad-key"


def test_a_node_says_what_it_reads(region: TestRegion) -> None:
    assert region.view.reads("SG", "drugs", 1)
    assert not region.view.reads("SG", "drugs", 2)
    assert not region.view.reads("SG", "firearms", 1)


def test_nobody_changes_a_view(region: TestRegion) -> None:
    with pytest.raises(TypeError):
        region.view.member_views["XX"] = region.view.member("SG")  # type: ignore[index]
    with pytest.raises(AttributeError):
        region.view.fresh_until = LATER  # type: ignore[misc]
