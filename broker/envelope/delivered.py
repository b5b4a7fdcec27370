"""The delivered form: parsing it and opening it at the recipient's node.

delivered: [1, suite, label, commit, own slot, own stanza, all slot hashes, ciphertext,
[kid, signature]]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker.envelope import padding, wire
from broker.envelope.chunks import attachments_key
from broker.envelope.errors import EnvelopeError
from broker.envelope.officer import check_officer
from broker.envelope.signed import COMMIT_CONTEXT, Frame, frame, stanza_info
from broker.envelope.slots import Slot, hashes_of, parse_entries, parse_slot
from broker.envelope.submitted import STANZA_BYTES
from keys.directory.entries import OfficerEntry
from keys.directory.view import DirectoryView
from keys.errors import DecryptionError
from keys.primitives.hashing import equal, hmac_sha256, sha256
from keys.primitives.sealing import OpenKey
from keys.primitives.symmetric import KEY_BYTES, gcm_open
from schemas.common import Alert
from schemas.content import Content, parse_content, read_alert
from schemas.control import ControlMessage, check_control_label, kind_of, parse_control
from schemas.errors import RuleError, SchemaError, UnknownVersionError
from schemas.facts import derive_facts
from schemas.label import Label
from schemas.rules import check_attached, check_content


@dataclass(frozen=True)
class Delivered:
    """An envelope as delivered. Not authenticated until `frame.verify` has returned."""

    frame: Frame
    slot: Slot
    stanza: bytes = field(repr=False)

    @property
    def disclosed(self) -> tuple[str, ...]:
        """All recipients where the originator discloses them, else none."""
        return tuple(
            sorted(entry.recipient for entry in self.frame.entries if isinstance(entry, Slot))
        )


@dataclass(frozen=True)
class Opened:
    """A message that passed every check.

    Attributes:
        label: What the hub saw.
        content: The container, its alert still as the exact bytes signed.
        alert: Read and validated; None for a control, and for a type not read here.
        control: The control message; None for an alert.
        officer: Who signed; None for a control.
        disclosed: All recipients, if the originator discloses them.
        attachments_key: From which the keys of its attached files are derived.
    """

    label: Label
    content: Content = field(repr=False)
    alert: Alert | None = field(repr=False)
    control: ControlMessage | None
    officer: OfficerEntry | None
    disclosed: tuple[str, ...]
    attachments_key: bytes = field(repr=False)


def parse_delivered(raw: bytes) -> Delivered:
    """Return the copy that `raw` encodes.

    Args:
        raw: Not trusted; nothing in the result is authenticated yet.

    Raises:
        EnvelopeError: Any code of form, wrong-slot, stanza-mismatch or recipients-withheld.
    """
    head, ciphertext, signed = wire.split(raw)
    match head:
        case [_, int(suite), bytes(label_bytes), bytes(commit), own, bytes(stanza), hashes]:
            slot, entries = parse_slot(own), parse_entries(hashes)
        case _:
            raise EnvelopeError("bad-envelope", "not a delivered envelope")
    parts = frame(suite, label_bytes, commit, entries, ciphertext, signed)
    if slot.hash not in hashes_of(entries):
        raise EnvelopeError("wrong-slot", "the copy's own slot is not among those signed")
    if len(stanza) != STANZA_BYTES or sha256(stanza) != slot.stanza_digest:
        raise EnvelopeError("stanza-mismatch", "the stanza is not the one its slot names")
    in_clear = [entry for entry in entries if isinstance(entry, Slot)]
    if parts.label.disclose_recipients != (slot in in_clear) or (
        in_clear and not parts.label.disclose_recipients
    ):
        raise EnvelopeError(
            "recipients-withheld", "recipients are shown if and only if the label discloses them"
        )
    return Delivered(parts, slot, stanza)


def open_delivered(
    delivered: Delivered,
    *,
    member: str,
    open_keys: Mapping[bytes, OpenKey],
    view: DirectoryView,
    at: datetime,
) -> Opened:
    """Return what `delivered` says to `member`, every check done.

    Args:
        delivered: As parsed; its signature is verified here.
        member: The recipient whose node asks.
        open_keys: The node's private encryption keys by key identifier.
        view: The directory.
        at: Time of the decision, as of which keys are judged.

    Raises:
        EnvelopeError: Any code that can be; nothing of the content stands in its message.
    """
    delivered.frame.verify(view, at=at, decided=True)
    key, random = open_stanza(delivered, member, open_keys)
    content = open_content(delivered.frame, key)
    label = delivered.frame.label
    if label.kind.is_control:
        control = _control(content, label)
        return Opened(
            label, content, None, control, None, delivered.disclosed, attachments_key(key)
        )
    officer = check_officer(content, label, member=member, random=random, view=view, at=at)
    alert = alert_in(content, label)
    return Opened(label, content, alert, None, officer, delivered.disclosed, attachments_key(key))


def open_stanza(
    delivered: Delivered, member: str, open_keys: Mapping[bytes, OpenKey]
) -> tuple[bytes, bytes]:
    """Return the content key, and the random bytes of this recipient's audience entry.

    Raises:
        EnvelopeError: wrong-recipient, no-open-key, cannot-open or wrong-commit.
    """
    slot = delivered.slot
    if slot.recipient != member:
        raise EnvelopeError("wrong-recipient", "the copy is for another member")
    open_key = open_keys.get(slot.kid)
    if open_key is None:
        raise EnvelopeError("no-open-key", "the key it was sealed to is not held here")
    info = stanza_info(delivered.frame.label_bytes, member, slot.kid)
    try:
        secret = open_key.open(delivered.stanza, info=info)
    except DecryptionError as error:
        raise EnvelopeError("cannot-open", "the stanza does not open") from error
    key, random = secret[:KEY_BYTES], secret[KEY_BYTES:]
    if not equal(hmac_sha256(key, COMMIT_CONTEXT), delivered.frame.commit):
        raise EnvelopeError("wrong-commit", "the content key is not the one committed to")
    return key, random


def open_content(parts: Frame, key: bytes) -> Content:
    """Return what the ciphertext holds, its officer not checked yet.

    Raises:
        EnvelopeError: bad-ciphertext, bad-padding, bad-compression, too-compressed, bad-content.
    """
    try:
        padded = gcm_open(key, parts.ciphertext, aad=sha256(parts.label_bytes))
    except DecryptionError as error:
        raise EnvelopeError("bad-ciphertext", "the content does not open") from error
    raw = padding.unpack(padded)
    try:
        return parse_content(raw)
    except SchemaError as error:
        raise EnvelopeError("bad-content", str(error)) from error


def _control(content: Content, label: Label) -> ControlMessage:
    if content.officer is not None:
        raise EnvelopeError("officer-unexpected", "no officer signs a control")
    try:
        check_control_label(label)
        message = parse_control(content.alert_bytes)
    except SchemaError as error:
        raise EnvelopeError("bad-control", str(error)) from error
    if kind_of(message) is not label.kind or content.original is not None or content.manifests:
        raise EnvelopeError("bad-control", "the control is not of the kind its label names")
    return message


def alert_in(content: Content, label: Label) -> Alert | None:
    """Return the alert, held against its label; None for a type that is not read here.

    Raises:
        EnvelopeError: bad-alert, original-mismatch or facts-understated.
    """
    has_original = content.original is not None
    media_types = [each.media_type for each in content.manifests]
    try:
        alert = read_alert(label.type, label.type_version, content.alert_bytes)
    except UnknownVersionError:
        _check_unread(label, media_types)
        return None
    except SchemaError as error:
        raise EnvelopeError("bad-alert", str(error)) from error
    try:
        content.check_original(alert)
    except SchemaError as error:
        raise EnvelopeError("original-mismatch", str(error)) from error
    officer = content.officer
    derived = derive_facts(
        alert,
        has_original=has_original,
        has_attachments=bool(content.manifests),
        reviewed_no_personal_data=officer is not None and officer.reviewed_no_personal_data,
    )
    if not label.facts.covers(derived):
        raise EnvelopeError("facts-understated", "the label understates what the content holds")
    try:
        check_content(alert, label, has_original=has_original, media_types=media_types)
    except RuleError as error:
        raise EnvelopeError("bad-alert", f"{error} [{error.code}]") from error
    return alert


def _check_unread(label: Label, media_types: Sequence[str]) -> None:
    """Return if files may be attached to a type that is not read here, as far as its label says."""
    try:
        check_attached(media_types, label.facts)
    except RuleError as error:
        raise EnvelopeError("bad-alert", f"{error} [{error.code}]") from error
