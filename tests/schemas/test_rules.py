"""Handling rules R1, R2 (text), R3, R4, R8 and those between label and content, one by one."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.blocks.base import Text
from schemas.blocks.identity import NationalIdentifier
from schemas.common import Alert
from schemas.errors import RuleError
from schemas.label import Classification, Facts, Retention
from schemas.rules import Recipient, check_content, check_label
from schemas.vocabulary import TLP, Handling, Level, Precedence, Status
from tests.support.alerts import (
    cyber_alert,
    drugs_alert,
    every_alert,
    suspect,
    trafficking_alert,
    trafficking_alert_with_minors,
)
from tests.support.labels import NOTHING, NOW, intent

MY, VN = Recipient("MY"), Recipient("VN")
INTERPOL = Recipient("INTERPOL", partner=True)
SHY = Recipient("TL", flags=frozenset({"actual-only"}))
UNODC = Recipient("UNODC", partner=True, flags=frozenset({"not-police"}))
GROUPED = Recipient("TH", named=False)
PERSONAL = Facts(personal_data=True, victim=False, minor=False, biometrics=False)
VICTIM = Facts(personal_data=True, victim=True, minor=False, biometrics=False)
MINOR = Facts(personal_data=False, victim=False, minor=True, biometrics=False)
RESTRICTED = Classification(scheme="SG", level=Level.RESTRICTED)
SECRET = Classification(scheme="SG", level=Level.SECRET)
CONFIDENTIAL = Classification(scheme="SG", level=Level.CONFIDENTIAL)


def kept(review_days: float, delete_days: float) -> Retention:
    return Retention(
        review_by=NOW + timedelta(days=review_days), delete_by=NOW + timedelta(days=delete_days)
    )


LABELS: list[tuple[dict[str, Any], tuple[Recipient, ...], str]] = [
    ({"classification": SECRET}, (MY,), "level-too-high"),
    ({"classification": CONFIDENTIAL}, (MY,), "level-too-high"),
    ({"status": Status.EXERCISE}, (MY, SHY), "r1-actual-only"),
    ({"status": Status.TEST}, (SHY,), "r1-actual-only"),
    ({"tlp": TLP.RED}, (MY, GROUPED), "r3-red-by-name"),
    ({"tlp": TLP.AMBER_STRICT}, (MY, INTERPOL), "r3-strict-partner"),
    ({"tlp": TLP.CLEAR, "facts": PERSONAL}, (MY,), "r3-clear-personal"),
    ({"tlp": TLP.CLEAR, "facts": VICTIM}, (MY,), "r3-clear-personal"),
    ({"tlp": TLP.CLEAR, "facts": MINOR}, (MY,), "r3-clear-personal"),
    ({"tlp": TLP.CLEAR, "classification": RESTRICTED}, (MY,), "r3-clear-classified"),
    ({}, (), "r4-nobody"),
    ({"rel_to": ("MY",)}, (MY, VN), "r4-outside-rel-to"),
    ({"rel_to": ("TH",)}, (VN,), "r4-outside-rel-to"),
    ({"retention": kept(300, 1828)}, (MY,), "r8-too-long"),
    ({"retention": kept(301, 300)}, (MY,), "r8-review"),
    ({"retention": kept(-1, 300)}, (MY,), "r8-review"),
    ({"retention": kept(367, 700), "facts": VICTIM}, (MY,), "r8-victim-review"),
    ({"retention": kept(367, 700), "facts": MINOR}, (MY,), "r8-victim-review"),
]

LABELS_KEPT: list[tuple[dict[str, Any], tuple[Recipient, ...]]] = [
    ({}, (MY, VN, INTERPOL)),
    ({"classification": RESTRICTED}, (MY,)),
    ({"status": Status.EXERCISE}, (MY,)),
    ({"status": Status.ACTUAL}, (SHY,)),
    ({"tlp": TLP.RED}, (MY, INTERPOL)),
    ({"tlp": TLP.AMBER_STRICT}, (MY, GROUPED)),
    ({"tlp": TLP.CLEAR}, (MY, UNODC)),
    ({"rel_to": ("MY", "VN")}, (MY,)),
    ({"rel_to": ("MY",)}, (MY, Recipient("SG"))),
    ({"retention": kept(0, 1827)}, (MY,)),
    ({"retention": kept(366, 700), "facts": VICTIM}, (MY,)),
    ({"retention": kept(700, 700)}, (MY,)),
]


@pytest.mark.parametrize(("changes", "recipients", "code"), LABELS)
def test_a_label_that_breaks_a_rule_is_refused(
    changes: dict[str, Any], recipients: tuple[Recipient, ...], code: str
) -> None:
    with pytest.raises(RuleError) as caught:
        check_label(intent(**changes), recipients=recipients, created=NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(("changes", "recipients"), LABELS_KEPT)
def test_a_label_that_keeps_the_rules_passes(
    changes: dict[str, Any], recipients: tuple[Recipient, ...]
) -> None:
    check_label(intent(**changes), recipients=recipients, created=NOW)


H3_TEXT = (Text(value="Ask before any action", lang="en"),)
WITH_NUMBER = suspect(identifiers=(NationalIdentifier(scheme="x-kh-nid", value="11"),))
TEXT, FILM = ("text/plain",), ("video/mp4",)
DANGER = {"precedence": Precedence.IMMEDIATE}

CONTENTS: list[tuple[Alert, dict[str, Any], dict[str, Any], str]] = [
    (cyber_alert(), {"type": "drugs"}, {}, "type-mismatch"),
    (cyber_alert(), {"type_version": 2}, {}, "type-mismatch"),
    (cyber_alert(), {"handling": (Handling.H3,)}, {}, "r2-h3-text"),
    (drugs_alert(controlled_delivery=True), {}, {}, "controlled-delivery-h3"),
    (trafficking_alert_with_minors(), {"precedence": Precedence.PRIORITY}, {}, "immediate-danger"),
    (trafficking_alert(immediate_danger=True), {}, {}, "immediate-danger"),
    (trafficking_alert(), {}, {"has_original": True}, "original-with-victim"),
    (trafficking_alert_with_minors(), DANGER, {"has_original": True}, "original-with-victim"),
    (cyber_alert(), {"facts": MINOR}, {"has_original": True}, "original-with-victim"),
    (cyber_alert(), {"facts": VICTIM}, {"has_original": True}, "original-with-victim"),
    (cyber_alert(), {"facts": VICTIM}, {"media_types": FILM}, "attachment-with-victim"),
    (cyber_alert(), {"facts": MINOR}, {"media_types": TEXT}, "attachment-with-victim"),
    (cyber_alert(), {"facts": MINOR}, {"media_types": (*TEXT, *FILM)}, "image-with-minor"),
    (cyber_alert(), {"facts": MINOR}, {"media_types": ("image/PNG",)}, "image-with-minor"),
    (trafficking_alert(), {}, {"media_types": TEXT}, "attachment-with-victim"),
    (trafficking_alert_with_minors(), DANGER, {"media_types": FILM}, "image-with-minor"),
    (drugs_alert(persons=(WITH_NUMBER,)), {"tlp": TLP.GREEN}, {}, "identifier-at-open-tlp"),
    (drugs_alert(persons=(WITH_NUMBER,)), {"tlp": TLP.CLEAR}, {}, "identifier-at-open-tlp"),
    (trafficking_alert(), {"tlp": TLP.GREEN}, {}, "victim-at-open-tlp"),
    (trafficking_alert(), {"tlp": TLP.CLEAR}, {}, "victim-at-open-tlp"),
    (trafficking_alert(), {}, {"recipients": (MY, UNODC)}, "victim-to-non-police"),
]

CONTENTS_KEPT: list[tuple[Alert, dict[str, Any], dict[str, Any]]] = [
    *((alert, DANGER, {}) for alert in every_alert()),
    (cyber_alert(h3_text=H3_TEXT), {"handling": (Handling.H3,)}, {}),
    (drugs_alert(controlled_delivery=True, h3_text=H3_TEXT), {"handling": (Handling.H3,)}, {}),
    (trafficking_alert(immediate_danger=True), {"precedence": Precedence.FLASH}, {}),
    (cyber_alert(), {}, {"has_original": True}),
    (drugs_alert(), {}, {"has_original": True}),
    (drugs_alert(), {}, {"media_types": (*FILM, *TEXT)}),
    (drugs_alert(persons=(WITH_NUMBER,)), {}, {}),
    (trafficking_alert(victims=()), {"tlp": TLP.GREEN}, {"recipients": (UNODC,)}),
    (trafficking_alert(), {}, {"recipients": (MY, INTERPOL)}),
]


@pytest.mark.parametrize(("alert", "changes", "options", "code"), CONTENTS)
def test_content_that_breaks_a_rule_is_refused(
    alert: Alert, changes: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    with pytest.raises(RuleError) as caught:
        check_content(alert, intent(alert, **changes), **{"has_original": False, **options})
    assert caught.value.code == code


@pytest.mark.parametrize(("alert", "changes", "options"), CONTENTS_KEPT)
def test_content_that_keeps_the_rules_passes(
    alert: Alert, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    check_content(alert, intent(alert, **changes), **{"has_original": False, **options})


def test_the_base_intent_states_no_facts() -> None:
    assert intent().facts == NOTHING
