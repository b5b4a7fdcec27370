"""What ministries may sign of policies: names that there are, even if nobody bears them now."""

import pytest

from keys.directory import layout
from keys.directory.edits import with_suspension
from keys.errors import DirectoryError
from schemas.directory import RegionMember, RevocationReason
from tests.support.directory import RealRegion
from tests.support.region import NOW

_RULE = """
[[rule]]
name = "embargo"
effect = "forbid"
"""


def with_rule(region: RealRegion, code: str | None, rule: str) -> tuple[str, bytes]:
    """The path and the text of a policy with one more rule."""
    path = layout.AGREEMENT_FILE if code is None else layout.member_files(code)[1]
    return path, region.founded.trusted().content.files[path] + (_RULE + rule).encode()


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("SG", 'direction = "export"\npeers = ["TW"]\n'),
        ("SG", 'direction = "import"\ngroups = ["asena"]\n'),
        (None, 'senders = ["EUROPOL"]\n'),
        (None, 'recipient_groups = ["asena"]\n'),
    ],
)
def test_a_policy_that_names_nobody_is_neither_proposed_nor_published(
    region: RealRegion, code: str | None, rule: str
) -> None:
    before = region.founded.trusted().version
    path, raw = with_rule(region, code, rule)
    draft = region.draft(NOW)
    draft.put_files(layout.TARGETS if code is None else layout.member_role(code), {path: raw})
    with pytest.raises(DirectoryError, match=r"line 1[0-9]") as refused:
        draft.proposal()
    assert refused.value.code == "unknown-name"
    assert region.founded.trusted().version == before


def test_a_group_that_lost_its_last_member_stays_known(region: RealRegion) -> None:
    by = ("MY", "VN", "TH")
    draft = region.draft(NOW)
    members = {**region.founded.trusted().content.region.members}
    members["SG"] = RegionMember(kind=members["SG"].kind, groups=("asean", "five"))
    draft.put_region(draft.region.model_copy(update={"members": members}))
    region.enact(draft, by, NOW)
    path, raw = with_rule(region, "MY", 'direction = "export"\ngroups = ["five"]\n')
    draft = region.draft(NOW)
    draft.put_member_files("MY", {path: raw})
    region.enact(draft, ("MY",), NOW)
    draft = region.draft(NOW)
    known = region.founded.trusted().content.revocations
    reason = RevocationReason.SUSPENDED
    draft.expel("SG", with_suspension(known, "SG", kid=None, at=NOW, reason=reason))
    region.enact(draft, by, NOW)
    view = region.view()
    assert "five" not in view.groups()
    assert view.names().unknown(view.member("MY").policy) is None
