"""From what a desk asks to what an officer signs: pure, but for random bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import ValidationError

from broker.envelope.officer import make_audience, officer_signed_bytes
from broker.node.errors import NodeError
from broker.node.ids import new_id
from broker.node.present import Present
from broker.node.staging import check_size
from broker.policy import Verdict
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from schemas.attachment import decode_manifests, encode_manifests
from schemas.common import Alert, explain
from schemas.content import Content, OfficerBlock, encode_alert
from schemas.desk import (
    Base64,
    DraftRequest,
    Hash,
    Kid,
    Preview,
    SignedParts,
    Sizes,
    StoredDraft,
)
from schemas.directory import MemberKind
from schemas.errors import RuleError, SchemaError
from schemas.facts import derive_facts
from schemas.label import Facts, Intent, MemberCode, Retention, Sender, Strict
from schemas.registry import model_for
from schemas.rules import Recipient, check_content, check_label
from schemas.vocabulary import Kind

EXPIRES: Final = timedelta(days=30)
KEPT: Final = timedelta(days=365)
DRAFT_LIFE: Final = timedelta(days=1)
_NO_MANIFESTS: Final = encode_manifests([])


class Prepared(Strict):
    """All that is needed to seal a draft, kept sealed until then.

    Attributes:
        permitted: To whom policy permitted it when the officer saw the preview.
        manifests: Canonical encoding of those of the attached files.
        attachments: Those files as this node keeps them, in the same order.
    """

    intent: Intent
    alert: Base64
    original: Base64 | None
    reviewed: bool
    asked: tuple[MemberCode, ...]
    permitted: tuple[MemberCode, ...]
    audience: tuple[Hash, ...]
    openings: dict[MemberCode, Hash]
    officer_kid: Kid
    signature: Base64 = b""
    manifests: Base64 = _NO_MANIFESTS
    attachments: tuple[UUID, ...] = ()

    def content(self) -> Content:
        """Return the container that is sealed."""
        block = OfficerBlock(self.officer_kid, self.signature, self.audience, self.reviewed)
        return Content(self.alert, block, self.original, decode_manifests(self.manifests))

    def bytes_to_sign(self) -> bytes:
        """Return what the officer's key signs."""
        return officer_signed_bytes(
            self.intent, self.audience, self.alert, self.manifests, self.officer_kid
        )


@dataclass(frozen=True)
class Composed:
    """A request understood: what would be said, and to whom it may be.

    Attributes:
        content: Unsigned, for its size.
    """

    intent: Intent
    alert: Alert
    derived: Facts
    content: Content
    verdicts: dict[str, Verdict]

    @property
    def permitted(self) -> tuple[str, ...]:
        """Recipients whom policy permits."""
        return tuple(code for code, verdict in self.verdicts.items() if verdict.permitted)


def compose(request: DraftRequest, present: Present) -> Composed:
    """Return what `request`, which is not trusted, amounts to under the directory held now.

    Raises:
        NodeError: `invalid` with the rule's or the model's code, or `unavailable`.
    """
    now = present.now()
    try:
        alert = _alert(request)
    except SchemaError as error:
        raise _invalid(error) from None
    original = None if request.original is None or request.without_original else request.original
    for each in request.attachments:
        check_size(each.bytes)
    manifests = tuple(each.manifest() for each in request.attachments)
    derived = derive_facts(
        alert,
        has_original=original is not None,
        has_attachments=bool(manifests),
        reviewed_no_personal_data=request.reviewed_no_personal_data,
    )
    until = now + KEPT
    try:
        intent = Intent(
            alert_id=request.alert_id or new_id(now),
            rev=request.rev,
            kind=Kind.ALERT,
            type=request.alert.type,
            type_version=request.alert.version,
            sender=Sender(member=present.member, agency=request.agency),
            status=request.status,
            precedence=request.precedence,
            tlp=request.tlp,
            pap=request.pap,
            handling=request.handling,
            classification=request.classification,
            rel_to=request.rel_to,
            no_third_party=request.no_third_party,
            orcon=request.orcon,
            purposes=request.purposes,
            judicial_use=request.judicial_use,
            expires=request.expires or now + EXPIRES,
            retention=request.retention or Retention(review_by=until, delete_by=until),
            thread=request.thread,
            facts=_either(derived, request.facts),
            disclose_recipients=request.disclose_recipients,
        )
    except ValidationError as error:
        raise _invalid(explain(error, code="bad-label")) from None
    if intent.expires <= now:
        raise NodeError(
            "expired", "the alert would expire at once", kind="invalid", field="expires"
        )
    recipients = _recipients(request.recipients, present)
    try:
        check_label(intent, recipients=recipients, created=now)
        check_content(
            alert,
            intent,
            has_original=original is not None,
            media_types=[each.media_type for each in manifests],
            recipients=recipients,
        )
    except RuleError as error:
        raise _invalid(error) from None
    content = Content(
        encode_alert(alert),
        OfficerBlock(bytes(16), bytes(64), (bytes(32),) * 16, request.reviewed_no_personal_data),
        None if original is None else original.content,
        manifests,
    )
    return Composed(intent, alert, derived, content, judge(intent, request.recipients, present))


def judge(intent: Intent, recipients: Sequence[str], present: Present) -> dict[str, Verdict]:
    """Return the verdicts of policy and directory as they are now."""
    verdicts = present.policies.evaluate(intent, recipients)
    for code in recipients:
        if code == present.member:
            verdicts[code] = _refused("own-member", "nobody sends to itself")
            continue
        if verdicts[code].permitted:
            try:
                present.view.encryption_key(code, at=present.now())
            except DirectoryError as error:
                verdicts[code] = _refused(error.code, str(error))
    return verdicts


def prepare(
    request: DraftRequest,
    composed: Composed,
    present: Present,
    shown: Preview,
    attachments: tuple[UUID, ...] = (),
) -> tuple[Prepared, StoredDraft]:
    """Return the draft to keep and the one to show.

    Args:
        request: As the desk sent it.
        composed: What it amounts to.
        present: The node's picture of now.
        shown: What the officer sees.
        attachments: The files that it names, as this node keeps them.

    Raises:
        NodeError: `invalid` without a signer or if it is too large, `forbidden` if the directory
            does not certify that officer.
    """
    if request.officer_kid is None:
        raise NodeError(
            "officer-key-missing",
            "a draft names the key that signs it",
            kind="invalid",
            field="officer_kid",
        )
    try:
        present.view.officer(present.member, request.officer_kid, at=present.now())
    except DirectoryError as error:
        raise NodeError(error.code, str(error), kind="forbidden") from None
    if not shown.sizes.fits:
        raise NodeError("content-too-large", too_large(shown.sizes), kind="invalid")
    audience = make_audience(request.recipients)
    prepared = Prepared(
        intent=composed.intent,
        alert=composed.content.alert_bytes,
        original=composed.content.original,
        reviewed=request.reviewed_no_personal_data,
        asked=request.recipients,
        permitted=composed.permitted,
        audience=audience.entries,
        openings=dict(audience.openings),
        officer_kid=request.officer_kid,
        manifests=composed.content.manifests_bytes,
        attachments=attachments,
    )
    now = present.now()
    stored = StoredDraft(
        draft_id=new_id(now),
        alert_id=composed.intent.alert_id,
        rev=composed.intent.rev,
        bytes_to_sign=prepared.bytes_to_sign(),
        parts=SignedParts(
            intent=composed.intent,
            alert=prepared.alert,
            manifests=prepared.manifests,
            audience=prepared.audience,
            openings=prepared.openings,
        ),
        officer_kid=request.officer_kid,
        preview=shown,
        expires_at=min(now + DRAFT_LIFE, composed.intent.retention.delete_by),
    )
    return prepared, stored


def too_large(sizes: Sizes) -> str:
    """Return in words that it does not fit, and what to do."""
    return (
        f"the content takes {sizes.sealed_bytes} bytes ({sizes.original_bytes} of them the"
        f" original), at most {sizes.sealed_limit} can be sealed: send it without the original,"
        " whose hash is kept"
    )


def content_digest(alert: bytes) -> bytes:
    """Return what two alerts of equal content share, whatever their ids."""
    return sha256(b"kentong/equal/1\0", alert)


def _alert(request: DraftRequest) -> Alert:
    body = request.alert.body
    if (original := request.original) is not None:
        named = {} if original.name is None else {"name": original.name}
        body = {
            **body,
            "original": {
                "sha256": sha256(original.content).hex(),
                "media_type": original.media_type,
                "bytes": len(original.content),
                **named,
            },
        }
    model = model_for(request.alert.type, request.alert.version)
    try:
        return model.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise explain(error, code="bad-alert") from None


def _either(derived: Facts, raised: Facts | None) -> Facts:
    if raised is None:
        return derived
    return Facts(
        **{name: getattr(derived, name) or getattr(raised, name) for name in Facts.model_fields}
    )


def _recipients(codes: Sequence[str], present: Present) -> list[Recipient]:
    views = present.view.member_views
    return [
        Recipient(code, partner=views[code].kind is MemberKind.PARTNER, flags=views[code].flags)
        for code in codes
        if code in views
    ]


def _refused(code: str, rule: str) -> Verdict:
    return Verdict(permitted=False, code=code, rule=rule, policy_hash=b"", decided_by="agreement")


def _invalid(error: SchemaError) -> NodeError:
    return NodeError(error.code, str(error), kind="invalid", field=error.field)
