"""From what a program says to a whole request: its fields, else the profile's, else the default."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from broker import clock
from broker.client.profiles import Profile
from schemas.common import Alert
from schemas.desk import AlertBody, AttachedFile, DraftRequest, OriginalDocument
from schemas.label import Classification, Facts, Retention
from schemas.vocabulary import PAP, TLP, Handling, JudicialUse, Precedence, Purpose, Status


class Fields(TypedDict, total=False):
    """The fields of a request beside the alert; see `schemas.desk.DraftRequest`.

    `to` names the recipients. Codes may be given as text, lists for tuples. `attachments` are
    paths, or what `Client.attach` returned.
    """

    to: Sequence[str]
    status: Status | str
    agency: str
    tlp: TLP | str
    purposes: Sequence[Purpose | str]
    precedence: Precedence | str
    pap: PAP | str | None
    handling: Sequence[Handling | str]
    classification: Classification
    rel_to: Sequence[str] | None
    no_third_party: bool
    orcon: bool
    judicial_use: JudicialUse | str
    expires: datetime | None
    retention: Retention | None
    alert_id: UUID | None
    rev: int
    thread: UUID | None
    facts: Facts | None
    disclose_recipients: bool
    original: OriginalDocument | None
    without_original: bool
    attachments: Sequence[AttachedFile | Path | str]
    reviewed_no_personal_data: bool


_FROM_PROFILE = (
    "agency",
    "status",
    "tlp",
    "pap",
    "precedence",
    "handling",
    "judicial_use",
    "purposes",
)


def compose(
    alert: Alert | AlertBody | DraftRequest, profile: Profile | None, fields: Fields
) -> DraftRequest:
    """Return the whole request.

    Args:
        alert: Typed content, a body in JSON's terms, or a request that is whole already.
        profile: Fills what `fields` leaves out.
        fields: What the program says; wins over the profile.

    Raises:
        ValueError: A field is missing or not valid; says which, not what it held.
        TypeError: Something else than an alert, or fields beside a whole request.
    """
    if isinstance(alert, DraftRequest):
        if fields:
            raise TypeError("a whole request takes no further fields")
        return alert
    said: dict[str, Any] = dict(fields)
    said["recipients"] = said.pop("to", profile.to if profile else ())
    wanted = {**_defaults(profile), **said, "alert": _body(alert)}
    return DraftRequest.model_validate(wanted, strict=False)


def _body(alert: object) -> AlertBody:
    match alert:
        case AlertBody():
            return alert
        case Alert():
            body = alert.model_dump(mode="json", exclude_none=True)
            return AlertBody(type=alert.TYPE, version=alert.VERSION, body=body)
        case _:
            raise TypeError("an alert is one of the models of `schemas`, or an AlertBody")


def _defaults(profile: Profile | None) -> dict[str, Any]:
    if profile is None:
        return {}
    now = clock.now()
    given: dict[str, Any] = {name: getattr(profile, name) for name in _FROM_PROFILE}
    if profile.retention_days is not None:
        until = now + timedelta(days=profile.retention_days)
        given["retention"] = Retention(review_by=until, delete_by=until)
    if profile.expires_days is not None:
        given["expires"] = now + timedelta(days=profile.expires_days)
    return {name: value for name, value in given.items() if value not in (None, ())}
