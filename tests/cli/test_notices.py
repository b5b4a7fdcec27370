"""Alarms and notes are shown with their code and with words."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.cli.notices import ALARMS, alarm_words, warning_words
from broker.cli.words import alarm_line
from broker.node import alarms, cosigner, held, logwatch, mirror, proofs
from broker.store.errors import DAMAGED_CODE
from schemas.desk import Alarm

AT = datetime(2026, 11, 25, tzinfo=UTC)
NODE = Path(alarms.__file__).parent
CODES = {
    *(mirror.FORK, mirror.BROKEN, cosigner.REFUSED, proofs.NOT_PROVEN, proofs.MISMATCH),
    *(alarms.SPLIT, alarms.EXPIRES_SOON, alarms.LOST, alarms.UNUSABLE),
    *(held.WAITS, logwatch.NOT_KEPT, "pair-state-missing", DAMAGED_CODE),
}


def test_every_alarm_of_the_node_has_words() -> None:
    assert {key.removeprefix("alarm-") for key in ALARMS} == CODES


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("quarantined-bad-signature", "an alert was set aside: the signature is false"),
        ("directory-expired", "the list of keys and rules from the hub was not taken"),
        ("attachment-bad-chunk", "an attached file: the hub gave a wrong part"),
        ("attachment-late", "an attached file: it does not come"),
        ("attachment-left-out", "an attached file: a recipient"),
        ("attachment-mismatch", "an attached file: what arrived is not the file"),
        ("attachment-not-sent", "an attached file: the hub refused it"),
        ("attachments-full", "an attached file: no room at this node"),
        ("attachments-share-full", "an attached file: its sender has what one may have here"),
        ("of-tomorrow", ""),
    ],
)
def test_a_family_of_alarms_has_its_words(code: str, words: str) -> None:
    assert alarm_words(code).startswith(words)


def test_an_alarm_is_shown_with_its_code_first() -> None:
    raised = Alarm(code="log-broken", peer="VN", count=2, first_at=AT, last_at=AT, detail="e/1")
    assert alarm_line(raised) == (
        "! log-broken VN x2 e/1: the hub's log was changed afterwards; tell the others"
    )
    unknown = Alarm(code="of-tomorrow", count=1, first_at=AT, last_at=AT)
    assert alarm_line(unknown) == "! of-tomorrow x1"


def test_every_note_beside_an_alert_has_words() -> None:
    source = (NODE / "receiveditem.py").read_text("utf-8")
    listed = re.search(r"warnings = \[(.*?)\]", source, re.DOTALL)
    assert listed
    codes = re.findall(r'\("([a-z-]+)", ', listed[1])
    assert len(codes) >= 5
    for code in codes:
        assert " " in warning_words(code), code
    assert warning_words("of-tomorrow") == "of-tomorrow"
