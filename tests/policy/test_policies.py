"""The policies to start from load, and decide what their ministries would expect."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy import Policies, compile_policies
from broker.policy.evaluate import MAX_ANSWERED
from schemas.errors import SchemaError
from schemas.label import Classification, Sender
from schemas.policy import Direction, Effect, PolicyDocument, Rule, parse_policy
from schemas.policynames import Names
from schemas.vocabulary import ASEAN, TLP, Handling, Level, Purpose, Status
from tests.support.labels import NOTHING, intent
from tests.support.region import make_region

FOLDER = Path(__file__).parents[2] / "deploy" / "policies"
PERSONAL = NOTHING.model_copy(update={"personal_data": True})
VICTIM = PERSONAL.model_copy(update={"victim": True})
MINOR = PERSONAL.model_copy(update={"minor": True})


def load(name: str) -> PolicyDocument:
    return parse_policy((FOLDER / f"{name}.toml").read_bytes())


REGION = make_region(
    (*ASEAN, "INTERPOL"),
    policies={code: load(code) for code in ASEAN},
    agreement=load("agreement"),
)
POLICIES = compile_policies(REGION.view)


@pytest.mark.parametrize("code", ASEAN)
def test_each_member_has_a_policy_of_its_own_that_names_only_members(code: str) -> None:
    policy = load(code)
    assert policy.member == code
    assert Names.of((), ()).unknown(policy) is None
    assert any(rule.effect is Effect.PERMIT for rule in policy.rule)


TABLE = [
    # sender, recipient, what differs from a cyber alert at TLP AMBER, expected rule
    ("SG", "MY", {}, ""),
    ("SG", "VN", {}, ""),
    ("SG", "MY", {"type": "drugs"}, ""),
    ("SG", "TH", {"facts": PERSONAL}, "TH import: forbid cyber-with-personal-data-needs-a-case"),
    ("SG", "TH", {"facts": PERSONAL, "purposes": (Purpose.WANTED,)}, ""),
    ("SG", "TH", {}, ""),
    ("SG", "INTERPOL", {}, "no permit matched in SG export"),
    ("SG", "INTERPOL", {"handling": (Handling.H3,)}, "SG export: forbid h3-needs-a-named-peer"),
    ("SG", "MY", {"tlp": TLP.RED}, "no permit matched in SG export"),
    (
        "MY",
        "INTERPOL",
        {"facts": VICTIM},
        "regional agreement: forbid identified-victims-stay-among-states",
    ),
    (
        "MY",
        "SG",
        {"facts": MINOR, "purposes": (Purpose.THREAT_ANALYSIS,)},
        "MY export: forbid minors-only-for-protection",
    ),
    (
        "SG",
        "MY",
        {"classification": Classification(level=Level.CONFIDENTIAL)},
        "regional agreement: forbid nothing-above-restricted",
    ),
    ("VN", "SG", {"tlp": TLP.GREEN, "facts": PERSONAL}, "VN export: forbid no-open-distribution"),
    ("SG", "MY", {"type": "wildlife"}, "no permit matched in SG export"),
    ("MM", "ID", {"type": "trafficking"}, "no permit matched in MM export"),
    ("MM", "TH", {"type": "trafficking"}, ""),
    (
        "ID",
        "TL",
        {"purposes": (Purpose.SECURITY_CHECK,)},
        "TL import: forbid nothing-for-security-checks",
    ),
    ("SG", "XX", {}, "XX is no member"),
]


@pytest.mark.parametrize(("sender", "recipient", "changes", "rule"), TABLE)
def test_the_deciding_rule_is_named(
    sender: str, recipient: str, changes: dict[str, object], rule: str
) -> None:
    meant = intent(sender=Sender(member=sender, agency="HQ"), **changes)
    verdict = POLICIES.evaluate(meant, [recipient])[recipient]
    assert verdict.permitted == (rule == "")
    if rule:
        assert verdict.rule == rule
        assert verdict.code
    else:
        assert verdict.rule.count(": permit ") == 3


HEAD = 'format = 1\nmember = "SG"\ntitle = "t"\n\n'
ONE = '[[rule]]\nname = "a"\neffect = "permit"\ndirection = "export"\n'
BAD = {
    "unknown key": (ONE + 'tlp = "red"\n', "line 9"),
    "unknown type": (ONE + 'types = ["drug"]\n', "line 9"),
    "unknown code": (ONE + 'purposes_any = ["fun"]\n', "line 9"),
    "unknown effect": (ONE.replace("permit", "allow"), "line 7"),
    "no direction": ('[[rule]]\nname = "a"\neffect = "permit"\n', "rule a"),
    "second rule": (ONE + "\n" + ONE.replace('"a"', '"B C"'), "line 11"),
    "same name twice": (ONE + ONE, "two rules"),
    "no TOML": ("[[rule]\n", "line 5"),
    "empty list": (ONE + "peers = []\n", "line 9"),
    "unassigned country": (ONE + 'peers = ["MY", "VT"]\n', "line 9"),
    "a group like a member": (ONE + 'groups = ["ASEAN"]\n', "line 9"),
    "a rule of the agreement": (ONE + 'senders = ["MY"]\n', "rule a"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_an_error_with_its_line_and_never_a_rule_that_does_not_match(
    name: str,
) -> None:
    text, said = BAD[name]
    with pytest.raises(SchemaError, match=said) as caught:
        parse_policy((HEAD + text).encode())
    assert caught.value.code == "bad-policy"


NAMES = Names.of(("SG", "INTERPOL"), ("mekong",))
STRANGERS = {
    # what a rule says, and what is said of it; None: nothing is wrong
    "a country that is no member": ('peers = ["MY", "TW"]\n', "line 9: rule a: peers: .*TW"),
    "a partner misspelt": ('peers = ["INTERPOLE"]\n', "line 9: rule a: peers: .*INTERPOLE"),
    "a group misspelt": (
        'peers = ["MY"]\ngroups = ["asena"]\n',
        "line 10: rule a: groups: .*asena",
    ),
    "a state that has not joined yet": ('peers = ["TL"]\n', None),
    "a registered partner": ('peers = ["INTERPOL"]\n', None),
    "a group of this region": ('groups = ["mekong", "partners"]\n', None),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_name_that_nobody_bears_is_told_with_its_line(name: str) -> None:
    rule, said = STRANGERS[name]
    raw = (HEAD + ONE + rule).encode()
    if said is None:
        NAMES.check(parse_policy(raw), raw)
        return
    with pytest.raises(SchemaError, match=said) as caught:
        NAMES.check(parse_policy(raw), raw)
    assert caught.value.code == "unknown-name"


def named(**lists: tuple[str, ...]) -> Rule:
    return Rule(name="stranger", effect=Effect.FORBID, **lists)


@pytest.mark.parametrize(
    ("stage", "rule"),
    [
        ("export", named(direction=Direction.EXPORT, peers=("TW",))),
        ("import", named(direction=Direction.EXPORT, groups=("asena",))),  # either direction's
        ("agreement", named(recipients=("TW",))),
        ("agreement", named(sender_groups=("asena",))),
    ],
)
def test_a_policy_that_names_nobody_permits_nothing_and_says_so(stage: str, rule: Rule) -> None:
    code = {"export": "SG", "import": "MY", "agreement": "agreement"}[stage]
    policy = load(code)
    spoilt = policy.model_copy(update={"rule": (*policy.rule, rule)})
    if stage == "agreement":
        policies = make_after(spoilt)
    else:
        policies = compile_policies(REGION.changed(code, policy=spoilt))
    meant = intent(sender=Sender(member="SG", agency="HQ"))
    assert POLICIES.evaluate(meant, ["MY"])["MY"].permitted
    verdict = policies.evaluate(meant, ["MY"])["MY"]
    assert (verdict.permitted, verdict.code) == (False, f"policy-{stage}-unknown-name")
    assert verdict.rule.endswith(("TW", "asena"))
    other = policies.evaluate(intent(sender=Sender(member="VN", agency="HQ")), ["ID"])["ID"]
    assert other.permitted == (stage != "agreement")  # nobody else's traffic stops for it


def test_a_group_that_its_last_member_left_can_still_be_named() -> None:
    known = replace(REGION.view, further_groups=frozenset({"five"}))
    policy = load("SG")
    rule = named(direction=Direction.EXPORT, groups=("five",))
    spoilt = policy.model_copy(update={"rule": (*policy.rule, rule)})
    changed = replace(REGION.changed("SG", policy=spoilt), further_groups=known.further_groups)
    meant = intent(sender=Sender(member="SG", agency="HQ"))
    assert compile_policies(changed).evaluate(meant, ["MY"])["MY"].permitted


@given(
    forbid=st.sets(st.sampled_from(ASEAN), min_size=1),
    sender=st.sampled_from(ASEAN),
    kind=st.sampled_from(["drugs", "cyber", "trafficking", "wildlife"]),
    status=st.sampled_from(list(Status)),
)
def test_one_rule_more_that_forbids_never_permits_more(
    forbid: set[str], sender: str, kind: str, status: Status
) -> None:
    meant = intent(sender=Sender(member=sender, agency="HQ"), type=kind, status=status)
    before = POLICIES.evaluate(meant, ASEAN)
    rule = Rule(name="more", effect=Effect.FORBID, recipients=tuple(sorted(forbid)))
    agreement = load("agreement")
    stricter = agreement.model_copy(update={"rule": (*agreement.rule, rule)})
    region = make_after(stricter)
    after = region.evaluate(meant, ASEAN)
    for code in ASEAN:
        assert before[code].permitted or not after[code].permitted
        assert not (after[code].permitted and code in forbid)


def make_after(agreement: PolicyDocument) -> Policies:
    return compile_policies(replace(REGION.view, agreement=agreement))


def test_an_answer_is_given_again_to_the_same_question_and_to_no_other() -> None:
    policies = compile_policies(REGION.view)
    asked = [
        intent(sender=Sender(member=sender, agency="HQ"), type=kind, tlp=tlp, facts=facts)
        for sender in ASEAN
        for kind in ("drugs", "cyber", "wildlife")
        for tlp in TLP
        for facts in (NOTHING, PERSONAL, VICTIM, MINOR)
    ]
    first = [policies.evaluate(each, ASEAN) for each in asked]
    assert [policies.evaluate(each, ASEAN) for each in reversed(asked)] == first[::-1]
    fresh = [compile_policies(REGION.view).evaluate(each, ASEAN) for each in asked[::40]]
    assert fresh == first[::40]


def test_a_sender_that_varies_everything_fills_no_memory() -> None:
    policies = compile_policies(REGION.view)
    for number in range(MAX_ANSWERED + 10):
        varied = intent(sender=Sender(member="SG", agency=f"A{number}"))
        assert policies.evaluate(varied, ["MY"]) == POLICIES.evaluate(varied, ["MY"])
        assert len(policies._answered) <= MAX_ANSWERED
