"""Ten thousand random requests: our rule table and Cedar agree on every one."""

import random  # noqa: TID251 - seeded, so that a disagreement can be seen again
from collections.abc import Sequence
from typing import Any, TypeVar

from broker.policy import compile_policies
from broker.policy.evaluate import compile_documents
from broker.policy.table import Request
from schemas.label import Classification, Facts, Intent, Sender
from schemas.policy import Direction, Effect, FactConditions, PolicyDocument, Rule
from schemas.vocabulary import ASEAN, TLP, Handling, Level, Purpose, Status
from tests.policy.test_policies import REGION
from tests.support.cedar import allowed, policies_of
from tests.support.labels import intent

WORLDS, EACH = 150, 60
REAL = 1_000
GROUPS = {
    "asean": frozenset(ASEAN),
    "partners": frozenset({"INTERPOL"}),
    "mekong": frozenset({"KH", "LA", "MM", "TH", "VN"}),
}
MEMBERS = (*ASEAN, "INTERPOL")
AGENCIES = ("SPF", "CNB", "RMP")
AnyT = TypeVar("AnyT")


def some(pick: random.Random, items: Sequence[AnyT], *, at_least: int = 1) -> tuple[AnyT, ...]:
    count = pick.randint(at_least, min(3, len(items)))
    return tuple(pick.sample(list(items), count))


def a_rule(pick: random.Random, number: int, direction: Direction | None) -> Rule:
    fields: dict[str, Any] = {
        "name": f"rule-{number}",
        "effect": pick.choice([Effect.PERMIT, Effect.PERMIT, Effect.FORBID]),
        "direction": direction,
    }
    chance = 0.75 if fields["effect"] is Effect.PERMIT else 0.45
    optional: dict[str, Any] = {
        "types": lambda: some(pick, ("drugs", "cyber", "trafficking", "unknown")),
        "status": lambda: some(pick, list(Status)),
        "tlp_at_most": lambda: pick.choice(list(TLP)),
        "tlp_at_least": lambda: pick.choice(list(TLP)),
        "handling_only": lambda: some(pick, list(Handling), at_least=0),
        "handling_any": lambda: some(pick, list(Handling)),
        "classification_at_most": lambda: pick.choice(list(Level)),
        "classification_at_least": lambda: pick.choice(list(Level)),
        "purposes_only": lambda: some(pick, list(Purpose)),
        "purposes_any": lambda: some(pick, list(Purpose)),
        "agencies": lambda: some(pick, AGENCIES),
        "facts": lambda: FactConditions(
            minor=pick.choice([None, True, False]), victim=pick.choice([None, True, False])
        ),
    }
    if direction is None:
        optional |= {
            "senders": lambda: some(pick, MEMBERS),
            "sender_groups": lambda: some(pick, list(GROUPS)),
            "recipients": lambda: some(pick, MEMBERS),
            "recipient_groups": lambda: some(pick, list(GROUPS)),
        }
    else:
        optional |= {
            "peers": lambda: some(pick, MEMBERS),
            "groups": lambda: some(pick, list(GROUPS)),
        }
    for name, make in optional.items():
        if pick.random() > chance and pick.random() < 0.5:
            fields[name] = make()
    return Rule(**fields)


def a_policy(pick: random.Random, member: str | None) -> PolicyDocument:
    directions: list[Direction | None] = [None] if member is None else list(Direction)
    rules = tuple(
        a_rule(pick, number, pick.choice(directions)) for number in range(pick.randint(1, 9))
    )
    return PolicyDocument(format=1, member=member, title="random", rule=rules)


def a_request(pick: random.Random, sender: str) -> Intent:
    return intent(
        sender=Sender(member=sender, agency=pick.choice(AGENCIES)),
        type=pick.choice(["drugs", "cyber", "trafficking", "wildlife"]),
        type_version=pick.choice([1, 1, 1, 2]),
        status=pick.choice(list(Status)),
        tlp=pick.choice(list(TLP)),
        handling=some(pick, list(Handling), at_least=0),
        classification=Classification(level=pick.choice(list(Level))),
        purposes=some(pick, list(Purpose)),
        facts=Facts(
            personal_data=pick.random() < 0.5,
            victim=pick.random() < 0.3,
            minor=pick.random() < 0.3,
            biometrics=pick.random() < 0.2,
        ),
    )


def cedar_says(
    export: PolicyDocument,
    agreement: PolicyDocument,
    importing: PolicyDocument,
    requests: Sequence[Request],
) -> list[bool]:
    stages = (
        policies_of(export, Direction.EXPORT),
        policies_of(agreement, None),
        policies_of(importing, Direction.IMPORT),
    )
    answers = [allowed(stage, requests, GROUPS) for stage in stages]
    return [all(each) for each in zip(*answers, strict=True)]


def test_random_policies_decide_as_cedar_does() -> None:
    pick = random.Random(8)  # noqa: S311 - not for a secret
    permitted = 0
    for _ in range(WORLDS):
        sender, recipient = pick.sample(MEMBERS, 2)
        export, importing = a_policy(pick, sender), a_policy(pick, recipient)
        agreement = a_policy(pick, None)
        ours = compile_documents({sender: export, recipient: importing}, agreement, GROUPS)
        asked = [a_request(pick, sender) for _ in range(EACH)]
        theirs = cedar_says(
            export, agreement, importing, [Request.of(each, recipient) for each in asked]
        )
        for each, answer in zip(asked, theirs, strict=True):
            verdict = ours.evaluate(each, [recipient])[recipient]
            assert verdict.permitted == answer, verdict.rule
            permitted += answer
    assert permitted > WORLDS * EACH // 100  # the comparison is not one of empty sets


def test_the_policies_to_start_from_decide_as_cedar_does() -> None:
    pick = random.Random(9)  # noqa: S311 - not for a secret
    ours = compile_policies(REGION.view)
    permitted = 0
    for sender in ASEAN[::3]:
        for recipient in ASEAN[1::3]:
            if sender == recipient:
                continue
            asked = [a_request(pick, sender) for _ in range(REAL // 12)]
            theirs = cedar_says(
                REGION.view.member(sender).policy,
                REGION.view.agreement,
                REGION.view.member(recipient).policy,
                [Request.of(each, recipient) for each in asked],
            )
            for each, answer in zip(asked, theirs, strict=True):
                assert ours.evaluate(each, [recipient])[recipient].permitted == answer
                permitted += answer
    assert permitted > REAL // 100
