"""Labels and intents for any test that needs a good one."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from schemas.common import Alert
from schemas.label import (
    Classification,
    DirectoryVersion,
    Facts,
    Intent,
    Label,
    Retention,
    Sender,
    uuid7_time,
)
from schemas.vocabulary import TLP, JudicialUse, Kind, Precedence, Purpose, Status

NOW: Final = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NOTHING: Final = Facts(personal_data=False, victim=False, minor=False, biometrics=False)
DIRECTORY: Final = DirectoryVersion(root=1, snapshot=7, hash=bytes(range(32)))


def uuid7_at(when: datetime, tail: int = 1) -> UUID:
    """A UUIDv7 of a given time; `tail` tells two of one millisecond apart."""
    ms = int(when.timestamp() * 1000)
    return UUID(int=ms << 80 | 7 << 76 | 2 << 62 | tail)


def intent(alert: Alert | None = None, **changes: object) -> Intent:
    """An intent of SG for `alert` (a cyber alert without one), with fields replaced."""
    fields: dict[str, Any] = {
        "alert_id": UUID(int=5),
        "rev": 1,
        "kind": Kind.ALERT,
        "type": alert.TYPE if alert else "cyber",
        "type_version": alert.VERSION if alert else 1,
        "sender": Sender(member="SG", agency="SPF"),
        "status": Status.ACTUAL,
        "precedence": Precedence.PRIORITY,
        "tlp": TLP.AMBER,
        "handling": (),
        "classification": Classification(),
        "no_third_party": False,
        "orcon": False,
        "purposes": (Purpose.WARN,),
        "judicial_use": JudicialUse.WITH_CONSENT,
        "expires": NOW + timedelta(days=30),
        "retention": Retention(
            review_by=NOW + timedelta(days=300), delete_by=NOW + timedelta(days=700)
        ),
        "facts": NOTHING,
        "disclose_recipients": False,
    }
    return Intent(**{**fields, **changes})


def label(alert: Alert | None = None, **changes: object) -> Label:
    """The label of `intent(alert, **changes)`, sealed at `NOW`."""
    made = Label.from_intent(intent(alert, **changes), id=uuid7_at(NOW), directory=DIRECTORY)
    assert uuid7_time(made.id) == made.created
    return made
