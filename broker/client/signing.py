"""The officer's signature, made at the desk and only over what was asked for.

The node composes what is signed: ids, derived facts, the audience. It could compose something
else. So the desk compares each part with its own request and builds the bytes anew; it signs those.
What it cannot know is whom the dummies of the audience might name: the node reads the alert in any
case and can tell anybody; the signature is what it cannot make.
"""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from pydantic import JsonValue, ValidationError

from broker.client.errors import LocalError, UntrustedDraft
from broker.client.profiles import Profile
from broker.envelope.officer import audience_entry, officer_signed_bytes
from broker.settings import settings
from keys.errors import KeyFileError
from keys.officers import OfficerKey, load_officer_key
from keys.passphrase import read_passphrase
from keys.primitives.hashing import sha256
from schemas.attachment import encode_manifests
from schemas.content import encode_alert
from schemas.desk import Base64, DraftRequest, IdempotencyKey, Kid, SignedParts, StoredDraft
from schemas.errors import SchemaError
from schemas.label import Intent, Strict
from schemas.registry import model_for
from schemas.vocabulary import Kind

_SAME: Final = (  # fields that the intent must carry just as the request has them
    "status",
    "precedence",
    "tlp",
    "pap",
    "classification",
    "no_third_party",
    "orcon",
    "judicial_use",
    "rev",
    "thread",
    "disclose_recipients",
)
_SAME_SETS: Final = ("handling", "purposes", "rel_to")


class Signer(Protocol):
    """Whatever holds an officer's key: a file, a card, a service."""

    @property
    def kid(self) -> bytes:
        """Key identifier, as the directory lists it."""
        ...

    @property
    def member(self) -> str:
        """Code of the member that certifies the key."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over exactly `message`."""
        ...


class SignedDraft(Strict):
    """A signed draft: all that submitting needs, and safe to submit any number of times."""

    draft_id: UUID
    alert_id: UUID
    officer_kid: Kid
    signature: Base64
    idempotency_key: IdempotencyKey


class KeptKey:
    """A signer whose key is in memory."""

    def __init__(self, key: OfficerKey) -> None:
        """Take an opened key."""
        self._key = key

    @property
    def kid(self) -> bytes:
        """Key identifier."""
        return self._key.kid

    @property
    def member(self) -> str:
        """The member that certifies the key."""
        return self._key.member

    async def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        return self._key.sign_key.sign(message)


async def signer_of(profile: Profile, *, passphrase: bytes | None = None) -> Signer:
    """Return the profile's signer; opening its store takes about a third of a second.

    Args:
        profile: Names the key store, and perhaps the file of its passphrase.
        passphrase: As the officer typed it; else from the profile's or the environment's file.

    Raises:
        LocalError: No key store or passphrase, or they do not fit.
    """
    try:
        return KeptKey(await asyncio.to_thread(_load, profile, passphrase))
    except KeyFileError as error:
        raise LocalError(error.code, str(error)) from None


async def sign_draft(
    asked: DraftRequest, draft: StoredDraft, signer: Signer, *, idempotency_key: str
) -> SignedDraft:
    """Return the draft signed, if it is what was asked.

    Raises:
        UntrustedDraft: It is not; nothing was signed.
    """
    message = checked_bytes(asked, draft, member=signer.member, kid=signer.kid)
    return SignedDraft(
        draft_id=draft.draft_id,
        alert_id=draft.alert_id,
        officer_kid=signer.kid,
        signature=await signer.sign(message),
        idempotency_key=idempotency_key,
    )


def checked_bytes(asked: DraftRequest, draft: StoredDraft, *, member: str, kid: bytes) -> bytes:
    """Return what to sign for `asked`, built here from the parts of the draft.

    Args:
        asked: What the desk sent.
        draft: What the node answered; not trusted.
        member: The officer's member.
        kid: The officer's key.

    Raises:
        UntrustedDraft: A part differs from what was asked.
    """
    parts = draft.parts
    _check_intent(asked, parts.intent, member=member)
    if draft.alert_id != parts.intent.alert_id or draft.rev != parts.intent.rev:
        raise UntrustedDraft("alert_id")
    _check_alert(asked, parts.alert)
    if parts.manifests != encode_manifests([each.manifest() for each in asked.attachments]):
        raise UntrustedDraft("attachments")
    permitted = {each.recipient for each in draft.preview.recipients if each.permitted}
    _check_audience(parts, asked=set(asked.recipients), permitted=permitted)
    message = officer_signed_bytes(parts.intent, parts.audience, parts.alert, parts.manifests, kid)
    if draft.officer_kid != kid or draft.bytes_to_sign != message:
        raise UntrustedDraft("bytes_to_sign")
    return message


def _check_intent(asked: DraftRequest, intent: Intent, *, member: str) -> None:
    for name in _SAME:
        if getattr(intent, name) != getattr(asked, name):
            raise UntrustedDraft(name)
    for name in _SAME_SETS:
        if set(getattr(intent, name) or ()) != set(getattr(asked, name) or ()):
            raise UntrustedDraft(name)
    alert = asked.alert
    expected = (Kind.ALERT, alert.type, alert.version, member, asked.agency, None)
    sender = intent.sender
    if expected != (
        intent.kind,
        intent.type,
        intent.type_version,
        sender.member,
        sender.agency,
        intent.ref,
    ):
        raise UntrustedDraft("sender")
    for name in ("alert_id", "expires", "retention"):
        wanted = getattr(asked, name)
        if wanted is not None and getattr(intent, name) != wanted:
            raise UntrustedDraft(name)
    if asked.facts is not None and not intent.facts.covers(asked.facts):
        raise UntrustedDraft("facts")


def _check_alert(asked: DraftRequest, raw: bytes) -> None:
    try:
        model = model_for(asked.alert.type, asked.alert.version)
        wanted = model.model_validate_json(json.dumps(_body(asked)))
    except (SchemaError, ValidationError):
        raise UntrustedDraft("alert") from None
    if raw != encode_alert(wanted):
        raise UntrustedDraft("alert")


def _check_audience(
    parts: SignedParts, *, asked: Collection[str], permitted: Collection[str]
) -> None:
    if not set(permitted) <= set(parts.openings) <= set(asked):
        raise UntrustedDraft("audience")
    entries = {audience_entry(random, member) for member, random in parts.openings.items()}
    if not entries <= set(parts.audience) or len(set(parts.audience)) != len(parts.audience):
        raise UntrustedDraft("audience")


def _body(asked: DraftRequest) -> dict[str, JsonValue]:
    if (original := asked.original) is None:
        return asked.alert.body
    named: dict[str, JsonValue] = {"name": original.name} if original.name is not None else {}
    kept: dict[str, JsonValue] = {
        "sha256": sha256(original.content).hex(),
        "media_type": original.media_type,
        "bytes": len(original.content),
    }
    return {**asked.alert.body, "original": {**kept, **named}}


def _load(profile: Profile, passphrase: bytes | None) -> OfficerKey:
    if profile.officer_key is None:
        raise LocalError("no-officer-key", "the profile names no officer's key")
    if passphrase is None:
        passphrase = read_passphrase(_passphrase_file(profile))
    return load_officer_key(Path(profile.officer_key).expanduser(), passphrase)


def _passphrase_file(profile: Profile) -> Path:
    if profile.passphrase_file is not None:
        return Path(profile.passphrase_file).expanduser()
    found = settings().passphrase_file
    if found is None:
        raise LocalError("no-passphrase", "the officer's key needs its passphrase")
    return found
