"""Every reason for which the gateway refuses, and that nothing else is refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from broker.admission.codes import retry_of
from broker.admission.judge import Arrival, Situation, judge, read
from broker.admission.judgement import Judged, Judgement, NotNow, RefusedWhole
from broker.envelope.officer import make_audience
from broker.envelope.submitted import Submitted
from keys.directory.view import DirectoryView
from keys.primitives.hashing import sha256
from schemas.content import Content
from schemas.control import PairState, Told, control_intent, encode_control
from schemas.decision import Decision
from schemas.directory import Revocation, RevocationReason
from schemas.label import DirectoryVersion, Label, Reference, Sender
from schemas.vocabulary import TLP, Kind, Precedence, Status
from tests.support.envelopes import decide, make, seal_content
from tests.support.labels import uuid7_at
from tests.support.region import make_region

REGION = make_region()
NOW = REGION.now
MADE = make(REGION, ("MY", "TH"))


@dataclass(frozen=True)
class Word:
    """A verdict as a policy gives it."""

    permitted: bool
    code: str = ""
    rule: str = "SG export: all"
    policy_hash: bytes = bytes(32)


class AllButTH:
    """A real, small evaluator: TH takes nothing."""

    def evaluate(self, intent: Label, recipients: Sequence[str], /) -> Mapping[str, Word]:
        assert intent.sender.member
        no = Word(permitted=False, code="policy-import-default", rule="no permit matched")
        return {code: no if code == "TH" else Word(permitted=True) for code in recipients}


SITUATION = Situation(REGION.view, AllButTH(), NOW)


def arrival(label: Label, raw: bytes) -> Arrival:
    return Arrival(raw, label.sender.member, str(label.lane), str(label.id))


GOOD = arrival(MADE.label, MADE.sealed.raw)


def judged(
    given: Arrival, situation: Situation = SITUATION, spoken_of: Decision | None = None
) -> Judgement:
    found = read(given, situation)
    if not isinstance(found, Submitted):
        return found
    return judge(found, situation, size=len(given.raw), spoken_of=spoken_of)


def test_each_recipient_gets_its_own_verdict_with_the_deciding_rule() -> None:
    found = judged(GOOD)
    assert isinstance(found, Judged)
    assert found.accepted == ("MY",)
    refused = next(r for r in found.records.values() if r.recipient == "TH")
    assert (refused.accepted, refused.code) == (False, "policy-import-default")
    assert refused.rule == "no permit matched"
    assert refused.pair_seq == (1, 1)


def _later(made_at: timedelta) -> Arrival:
    made = make(REGION, ("MY",), at=NOW + made_at)
    return arrival(made.label, made.sealed.raw)


def _view(**changes: int) -> DirectoryView:
    version = REGION.view.version
    return replace(REGION.view, version=DirectoryVersion(**{**version.model_dump(), **changes}))


CASES: dict[str, tuple[Callable[[], tuple[Arrival, Situation]], str, bool]] = {
    # name: (what arrives and when, code, whether it is recorded under its id)
    "rubbish": (lambda: (replace(GOOD, raw=b"rubbish"), SITUATION), "not-canonical", False),
    "too large": (lambda: (replace(GOOD, raw=bytes(600_000)), SITUATION), "too-large", False),
    "another member's label": (
        lambda: (replace(GOOD, account="VN"), SITUATION),
        "wrong-sender",
        False,
    ),
    "another id": (
        lambda: (replace(GOOD, id=str(uuid7_at(NOW, 7))), SITUATION),
        "wrong-subject",
        False,
    ),
    "another lane": (lambda: (replace(GOOD, lane="urgent"), SITUATION), "wrong-lane", False),
    "36 days old": (
        lambda: (
            GOOD,
            replace(
                SITUATION,
                now=NOW + timedelta(days=35, seconds=1),
                view=replace(REGION.view, fresh_until=NOW + timedelta(days=99)),
            ),
        ),
        "too-old",
        False,
    ),
    "expired": (lambda: (_made(expires=NOW), SITUATION), "expired", True),
    "another directory of the same version": (
        lambda: (
            GOOD,
            replace(
                SITUATION,
                view=replace(
                    REGION.view,
                    version=DirectoryVersion(root=1, snapshot=1, hash=sha256(b"another")),
                ),
            ),
        ),
        "directory-split",
        True,
    ),
    "a suspended sender": (
        lambda: (
            GOOD,
            replace(
                SITUATION,
                view=REGION.changed(
                    "SG",
                    revocations=[
                        Revocation(
                            member="SG", kid=None, at=NOW, reason=RevocationReason.COMPROMISED
                        )
                    ],
                ),
            ),
        ),
        "member-suspended",
        True,
    ),
    "a stranger's signature": (lambda: (_other_signature(), SITUATION), "bad-signature", True),
    "TLP CLEAR with personal data": (
        lambda: (
            _made(tlp=TLP.CLEAR, facts=MADE.label.facts.model_copy(update={"personal_data": True})),
            SITUATION,
        ),
        "r3-clear-personal",
        True,
    ),
}


def _made(**changes: object) -> Arrival:
    made = make(REGION, ("MY",), **changes)
    return arrival(made.label, made.sealed.raw)


def _other_signature() -> Arrival:
    raw = bytearray(MADE.sealed.raw)
    raw[-1] ^= 1
    return replace(GOOD, raw=bytes(raw))


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_for_good_names_its_reason(name: str) -> None:
    build, code, keyed = CASES[name]
    found = judged(*build())
    assert isinstance(found, RefusedWhole)
    assert found.code == code
    assert (found.submitted is not None) == keyed


WAITS: dict[str, tuple[Callable[[], tuple[Arrival, Situation]], str]] = {
    "a clock six minutes ahead": (lambda: (_later(timedelta(minutes=6)), SITUATION), "clock-ahead"),
    "a stale directory here": (
        lambda: (GOOD, replace(SITUATION, view=replace(REGION.view, fresh_until=NOW))),
        "directory-stale",
    ),
    "a newer directory there": (lambda: (_newer(), SITUATION), "directory-behind"),
    "a log that nobody witnesses": (
        lambda: (GOOD, replace(SITUATION, unwitnessed=True)),
        "log-unwitnessed",
    ),
}


def _newer() -> Arrival:
    ahead = replace(REGION, view=_view(snapshot=2))
    made = make(ahead, ("MY",))
    return arrival(made.label, made.sealed.raw)


@pytest.mark.parametrize("name", WAITS)
def test_what_may_pass_later_is_not_decided(name: str) -> None:
    build, code = WAITS[name]
    found = judged(*build())
    assert isinstance(found, NotNow)
    assert (found.code, retry_of(found.code)) == (code, "later")
    assert found.retry_after_s > 0


def test_five_minutes_ahead_are_admitted() -> None:
    assert isinstance(judged(_later(timedelta(minutes=5))), Judged)


def test_a_copy_sealed_to_a_key_of_the_past_is_refused_alone() -> None:
    view = REGION.changed(
        "MY",
        document=lambda old: old.model_copy(update={"encryption_keys": old.encryption_keys[1:]}),
    )
    view = replace(view, version=REGION.view.version)
    found = judged(GOOD, replace(SITUATION, view=view))
    assert isinstance(found, Judged)
    codes = {record.recipient: record.code for record in found.records.values()}
    assert codes == {"MY": "stale-key", "TH": "policy-import-default"}
    assert retry_of("stale-key") == "new-id"


def test_nobody_sends_to_itself() -> None:
    found = judged(_made_to("SG", "MY"))
    assert isinstance(found, Judged)
    assert found.accepted == ("MY",)


def _made_to(*to: str) -> Arrival:
    made = make(REGION, to)
    return arrival(made.label, made.sealed.raw)


def control(
    kind: Kind = Kind.DELIVERED,
    *,
    sender: str = "MY",
    to: Sequence[str] = ("SG",),
    digest: bytes | None = None,
    status: Status = Status.ACTUAL,
    **changes: object,
) -> Arrival:
    """A control from one member's node, about MADE."""
    reference = Reference(id=MADE.label.id, digest=digest or MADE.sealed.digest)
    pair = kind is Kind.PAIR_STATE
    intent = control_intent(
        kind,
        sender=Sender(member=sender, agency="HQ"),
        ref=None if pair else reference,
        status=status,
        now=NOW,
    ).model_copy(update=changes)
    label = Label.from_intent(intent, id=uuid7_at(NOW, 77), directory=REGION.view.version)
    message = PairState(NOW, 1, 1, 1) if pair else Told(kind, NOW)
    sealed = seal_content(REGION, label, Content(encode_control(message)), make_audience(to))
    return arrival(label, sealed.raw)


STANDING = decide(REGION, MADE.sealed.raw)


def test_the_two_parties_of_a_delivery_may_speak_of_it() -> None:
    for kind in (Kind.DELIVERED, Kind.OPENED, Kind.PURGED):
        assert isinstance(judged(control(kind), spoken_of=STANDING), Judged)
    assert isinstance(judged(control(Kind.PAIR_STATE)), Judged)


CONTROLS: dict[str, tuple[Callable[[], Arrival], Decision | None, str]] = {
    "about nothing": (control, None, "control-without-decision"),
    "about another digest": (
        lambda: control(digest=bytes(32)),
        STANDING,
        "control-without-decision",
    ),
    "by a third party": (lambda: control(sender="VN"), STANDING, "control-without-decision"),
    "to two": (lambda: control(to=("SG", "VN")), STANDING, "control-recipients"),
    "in another label": (lambda: control(precedence=Precedence.FLASH), STANDING, "bad-control"),
    "marked as an exercise": (
        lambda: control(status=Status.EXERCISE),
        STANDING,
        "control-without-decision",
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_outside_the_fixed_rule_is_refused(name: str) -> None:
    build, standing, code = CONTROLS[name]
    found = judged(build(), spoken_of=standing)
    assert isinstance(found, RefusedWhole)
    assert found.code == code


def test_a_control_is_never_answered_by_another() -> None:
    first = control()
    answered = decide(REGION, first.raw)
    header = replace(answered.header, id=MADE.label.id, digest=MADE.sealed.digest)
    found = judged(control(), spoken_of=replace(answered, header=header))
    assert isinstance(found, RefusedWhole)
    assert found.code == "control-about-control"
