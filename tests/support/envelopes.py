"""Sealed envelopes, deliveries and controls between members of a test region."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from broker.envelope.decision import commitments, encode_delivery, sign_decision
from broker.envelope.officer import Audience, make_audience, officer_signed_bytes
from broker.envelope.seal import Recipient, Sealed, seal
from broker.envelope.submitted import deliver, parse_submitted
from schemas.attachment import Manifest
from schemas.common import Alert
from schemas.content import Content, OfficerBlock, encode_alert
from schemas.decision import Decision, DecisionHeader, VerdictRecord
from schemas.facts import derive_facts
from schemas.label import Label, Retention
from schemas.moments import milliseconds
from tests.support.alerts import every_alert
from tests.support.labels import intent, uuid7_at
from tests.support.region import TestRegion


@dataclass(frozen=True)
class Made:
    """An envelope and all that went into it."""

    label: Label
    content: Content
    audience: Audience
    sealed: Sealed


def an_alert() -> Alert:
    return next(iter(every_alert()))


def signed_content(
    region: TestRegion,
    label: Label,
    alert: Alert,
    to: Sequence[str],
    *,
    original: bytes | None = None,
    reviewed: bool = False,
    manifests: tuple[Manifest, ...] = (),
) -> tuple[Content, Audience]:
    """Content signed by the officer of the label's sender for `to`."""
    member = region.members[label.sender.member]
    audience = make_audience(to)
    raw = encode_alert(alert)
    unsigned = Content(
        raw,
        OfficerBlock(member.officer_kid, bytes(64), audience.entries, reviewed),
        original,
        manifests,
    )
    message = officer_signed_bytes(
        label, audience.entries, raw, unsigned.manifests_bytes, member.officer_kid
    )
    block = OfficerBlock(
        member.officer_kid, member.officer_key.sign(message), audience.entries, reviewed
    )
    return replace(unsigned, officer=block), audience


def label_for(
    region: TestRegion,
    alert: Alert,
    *,
    at: datetime | None = None,
    tail: int = 1,
    **changes: object,
) -> Label:
    """A label of `alert` in the region's directory at its present, facts derived."""
    facts = derive_facts(
        alert, has_original=False, has_attachments=False, reviewed_no_personal_data=False
    )
    kept = Retention(
        review_by=region.now + timedelta(days=300), delete_by=region.now + timedelta(days=700)
    )
    given = {
        "facts": facts,
        "expires": region.now + timedelta(days=30),
        "retention": kept,
        **changes,
    }
    meant = intent(alert, **given)
    return Label.from_intent(
        meant, id=uuid7_at(at or region.now, tail), directory=region.view.version
    )


def seal_content(
    region: TestRegion,
    label: Label,
    content: Content,
    audience: Audience,
    *,
    counter: int = 1,
) -> Sealed:
    """The content sealed to everybody in the audience by the label's sender."""
    sender = region.members[label.sender.member]
    recipients = [
        Recipient(
            member, (1, counter), *region.view.encryption_key(member, at=label.created), random
        )
        for member, random in audience.openings.items()
    ]
    return seal(
        label,
        content.to_bytes(),
        recipients=recipients,
        node_kid=sender.kid,
        node_key=sender.sign_key,
    )


def make(
    region: TestRegion,
    to: Sequence[str] = ("MY", "VN"),
    *,
    alert: Alert | None = None,
    counter: int = 1,
    **changes: Any,  # noqa: ANN401 - any field of the label
) -> Made:
    """An alert sealed to `to`."""
    alert = alert or an_alert()
    label = label_for(region, alert, **changes)
    content, audience = signed_content(region, label, alert, to)
    return Made(
        label, content, audience, seal_content(region, label, content, audience, counter=counter)
    )


def decide(region: TestRegion, raw: bytes, *, at: datetime | None = None) -> Decision:
    """A decision of the region's gateway that accepts every copy of `raw`."""
    submitted = parse_submitted(raw)
    parts = submitted.frame
    records = {
        slot.hash: VerdictRecord(
            slot.hash, slot.recipient, slot.pair_seq, True, "", "test: all", b""
        )
        for slot in submitted.slots
    }
    hashes, openings = commitments(parts.entries, records)
    header = DecisionHeader(
        digest=parts.digest,
        sender=parts.label.sender.member,
        decided_at=at or region.now,
        gateway="gw-test",
        dir=region.view.version,
        code="",
        slots=hashes,
        id=parts.label.id,
        status=parts.label.status,
        kind=parts.label.kind,
    )
    assert milliseconds(header.decided_at) > 0
    return sign_decision(header, openings, kid=region.gateway_kid, key=region.gateway_sign_key)


def delivery(region: TestRegion, raw: bytes, member: str, *, at: datetime | None = None) -> bytes:
    """What lands in the inbox of `member`."""
    copy = deliver(parse_submitted(raw), member)
    return encode_delivery(copy, decide(region, raw, at=at), member)
