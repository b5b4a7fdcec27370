"""What is kept of an alert that arrived: all that desks see of it, and its source document."""

from pydantic import JsonValue

from broker.envelope.decision import Delivery
from broker.envelope.delivered import Opened
from broker.envelope.errors import EnvelopeError
from broker.node.arrivedfiles import awaited
from broker.node.present import Present
from schemas.desk import (
    DecisionShown,
    DirectoryNamed,
    InboxItem,
    OfficerShown,
    OriginalShown,
)
from schemas.desk.fields import Base64
from schemas.directory import OfficerRole
from schemas.label import Strict
from schemas.vocabulary import Status


class Kept(Strict):
    """What is sealed in an inbox row.

    Attributes:
        kid: The sender's node key; empty in rows older than this field.
    """

    item: InboxItem
    original: Base64 | None
    kid: Base64 = b""


def kept_of(present: Present, delivery: Delivery, opened: Opened) -> Kept:
    """Return what is kept of an alert; as `item_of`."""
    return Kept(
        item=item_of(present, delivery, opened),
        original=opened.content.original,
        kid=delivery.delivered.frame.kid,
    )


def item_of(present: Present, delivery: Delivery, opened: Opened) -> InboxItem:
    """Return an alert as desks see it, but for its position: the inbox numbers its rows.

    Args:
        present: The node's picture of now.
        delivery: Verified.
        opened: What the delivery held, checked.

    Raises:
        EnvelopeError: `officer-missing`: no alert of an officer.
    """
    label, header = opened.label, delivery.decision.header
    record = delivery.decision.record_of(present.member)
    officer = opened.officer
    if officer is None or record is None:  # whoever opened it saw both
        raise EnvelopeError("officer-missing", "no officer signed this alert")
    alert: dict[str, JsonValue] | None = (
        None if opened.alert is None else opened.alert.model_dump(mode="json", exclude_none=True)
    )
    named = None if opened.alert is None else opened.alert.original
    reviewed = opened.content.officer is not None and (
        opened.content.officer.reviewed_no_personal_data
    )
    warnings = [
        code
        for code, shown in (
            ("reviewed-no-personal-data", reviewed),
            ("type-not-read", opened.alert is None),
            ("system-sender", OfficerRole.SYSTEM in officer.roles),
            ("key-revoked-since", _key_ended(present, delivery)),
            ("officer-revoked-since", officer.standing.ended_since(at=header.decided_at)),
        )
        if shown
    ]
    return InboxItem(
        position=0,
        id=label.id,
        alert_id=label.alert_id,
        rev=label.rev,
        sender=label.sender.member,
        agency=label.sender.agency,
        type=label.type,
        type_version=label.type_version,
        status=label.status,
        exercise=label.status is not Status.ACTUAL,
        precedence=label.precedence,
        tlp=label.tlp,
        created=label.created,
        expires=label.expires,
        received_at=present.now(),
        label=label.model_dump(mode="json", exclude_none=True),
        alert=alert,
        officer=OfficerShown(
            pseudonym=officer.id,
            kid=officer.kid,
            roles=tuple(str(role) for role in officer.roles),
            system=OfficerRole.SYSTEM in officer.roles,
        ),
        decision=DecisionShown(
            gateway=header.gateway,
            kid=delivery.decision.kid,
            decided_at=header.decided_at,
            rule=record.rule,
            policy=record.policy or bytes(32),
            directory=DirectoryNamed(
                root=header.dir.root, snapshot=header.dir.snapshot, hash=header.dir.hash
            ),
        ),
        recipients=opened.disclosed or None,
        reviewed_no_personal_data=reviewed,
        original=None
        if named is None
        else OriginalShown(
            sha256=bytes.fromhex(named.sha256),
            media_type=named.media_type,
            bytes=named.bytes,
            name=named.name,
            carried=opened.content.original is not None,
        ),
        warnings=tuple(warnings),
        attachments=awaited(opened.content.manifests),
    )


def _key_ended(present: Present, delivery: Delivery) -> bool:
    """Return whether a key that vouches for this delivery was revoked after the decision."""
    view, frame = present.view, delivery.delivered.frame
    standings = (
        view.verification_standing(frame.label.sender.member, frame.kid),
        view.gateway_standing(delivery.decision.kid),
    )
    decided_at = delivery.decision.header.decided_at
    return any(standing.ended_since(at=decided_at) for standing in standings)
