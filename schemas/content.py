"""The plaintext container: what is sealed. Source: schemas/SPEC.md, section on content.

    [1, alert bytes, officer block | nil, original | nil, manifests, forwarded | nil]

The alert stands in it as the exact bytes the officer signed. No forwarded copy is defined yet:
anything but nil is refused.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pydantic import ValidationError

from schemas import canonical
from schemas.attachment import Manifest, encode_manifests, from_wire, to_wire
from schemas.common import Alert, explain
from schemas.errors import SchemaError
from schemas.registry import model_for

CONTENT_VERSION: Final = 1
MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024  # after decompression
MAX_AUDIENCE: Final = 32  # as many as an envelope has slots
_KID_BYTES: Final = 16
_SIGNATURE_BYTES: Final = range(64, 8193)  # Ed25519 up to a later hybrid with ML-DSA
_ENTRY_BYTES: Final = 32


@dataclass(frozen=True)
class OfficerBlock:
    """Who signed inside, for whom, and what they vouch for.

    Attributes:
        kid: Of the officer's key, 16 bytes.
        signature: Over the bytes that SPEC.md names; not verified here.
        audience: Salted hashes of the recipients, padded and shuffled.
        reviewed_no_personal_data: The officer looked: text and original hold no personal data.
    """

    kid: bytes
    signature: bytes
    audience: tuple[bytes, ...]
    reviewed_no_personal_data: bool = False


@dataclass(frozen=True)
class Content:
    """The container in memory. Nothing in it is authenticated by being parsed.

    Attributes:
        alert_bytes: Canonical encoding of the alert, or of a control message.
        officer: Absent from control messages, which no officer signs.
        original: The document the alert was made from, byte for byte.
        manifests: Of the attached files, which travel beside the envelope.
    """

    alert_bytes: bytes
    officer: OfficerBlock | None = None
    original: bytes | None = None
    manifests: tuple[Manifest, ...] = ()

    @property
    def manifests_bytes(self) -> bytes:
        """Canonical encoding of the list of attachment manifests, which the officer signs."""
        return encode_manifests(self.manifests)

    def to_bytes(self) -> bytes:
        """Return the canonical encoding."""
        block: canonical.Value = None
        if self.officer is not None:
            block = {
                "kid": self.officer.kid,
                "signature": self.officer.signature,
                "audience": list(self.officer.audience),
                "reviewed_no_personal_data": self.officer.reviewed_no_personal_data,
            }
        manifests = to_wire(self.manifests)
        return canonical.encode(
            [CONTENT_VERSION, self.alert_bytes, block, self.original, manifests, None]
        )

    def check_original(self, alert: Alert) -> None:
        """Return if the carried original is the one that `alert` names.

        Raises:
            SchemaError: It is not, or the alert names none.
        """
        if self.original is None:
            return
        named = alert.original
        if named is None:
            raise SchemaError("original-not-named", "an original is carried that no field names")
        if named.bytes != len(self.original) or named.sha256 != sha256(self.original).hexdigest():
            raise SchemaError("original-mismatch", "the original is not the one named")


def parse_content(raw: bytes) -> Content:
    """Return the container that `raw` encodes. Its alert is not read yet.

    Raises:
        SchemaError: Too long, not canonical, or of another form.
    """
    match canonical.decode(raw, max_bytes=MAX_CONTENT_BYTES):
        case [version, *_] if type(version) is not int or version != CONTENT_VERSION:
            raise SchemaError("unknown-content-version", "the content's version is not known")
        case [_, bytes(alert), block, None | bytes() as original, list(manifests), None]:
            return Content(alert, _officer(block), original, _manifests(manifests))
        case _:
            raise SchemaError("bad-content", "not a content container of a known form")


def encode_alert(alert: Alert) -> bytes:
    """Return the canonical bytes of `alert`, which the officer signs."""
    return canonical.encode(alert.model_dump(mode="json", exclude_none=True))


def read_alert(name: str, version: int, raw: bytes) -> Alert:
    """Return the alert that `raw` encodes, every rule of its model verified.

    Args:
        name: The label's type.
        version: The label's type_version.
        raw: Not yet trusted.

    Raises:
        UnknownVersionError: This software does not read the type and version.
        SchemaError: Not canonical, or not valid; the message holds no value of the input.
    """
    model = model_for(name, version)
    value = canonical.decode(raw, max_bytes=MAX_CONTENT_BYTES)
    try:
        alert = model.model_validate_json(json.dumps(value))
    except TypeError:
        raise SchemaError("bad-alert", "an alert holds no raw bytes") from None
    except ValidationError as error:
        raise explain(error, code="bad-alert") from None
    if encode_alert(alert) != raw:  # a default left out, or a text not in NFC
        raise SchemaError("bad-alert", "the alert is not in its one canonical form")
    return alert


def _manifests(items: list[canonical.Value]) -> tuple[Manifest, ...]:
    try:
        return from_wire(items)
    except SchemaError as error:
        raise SchemaError("bad-content", str(error), field="manifests") from error


def _officer(block: canonical.Value) -> OfficerBlock | None:
    match block:
        case None:
            return None
        case {
            "kid": bytes(kid),
            "signature": bytes(signature),
            "audience": list(audience),
            "reviewed_no_personal_data": bool(reviewed),
            **rest,
        } if (
            not rest
            and len(kid) == _KID_BYTES
            and len(signature) in _SIGNATURE_BYTES
            and 1 <= len(audience) <= MAX_AUDIENCE
        ):
            entries = tuple(item for item in audience if isinstance(item, bytes))
            if len(entries) == len(audience) and all(len(e) == _ENTRY_BYTES for e in entries):
                return OfficerBlock(kid, signature, entries, reviewed)
    raise SchemaError("bad-content", "not an officer's block of a known form", field="officer")
