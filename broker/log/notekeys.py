"""Keys that sign notes, and what they verify. Sources: C2SP signed-note, tlog-cosignature.

    vkey: <name>+<8 lowercase hex digits of the key id>+base64(type || public key)
    skey: PRIVATE+KEY+<name>+<8 hex digits>+base64(type || seed)       (Go's convention)

A key id is short and anybody can make a key with a given one: it selects a key, it proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

from broker.log.checkpoint import parse_checkpoint
from broker.log.cosignature import (
    MAX_NAME_BYTES,
    ed25519_message,
    mldsa_message,
    parse_cosignature,
)
from broker.log.errors import LogError
from broker.log.line import read_base64, write_base64
from broker.log.note import KEY_ID_BYTES, Note, SignatureLine, check_key_name
from broker.log.treehead import parse_tree_head_signature, tree_head_message
from keys.errors import SignatureError
from keys.primitives import mldsa, signing
from keys.primitives.ecdsa import ECDSAVerifyKey
from keys.primitives.hashing import sha256
from keys.primitives.mldsa import MLDSAVerifyKey
from keys.primitives.signing import VerifyKey

MAX_VKEY_BYTES: Final = 4096  # a 0x06 vkey has 1750 and its name
_CODE: Final = "bad-vkey"
_PARTS: Final = 3  # Base64 may contain '+', names may not


class SignatureType(IntEnum):
    """The types of the specification's table; we verify them all, and make 0x01, 0x04 and 0x06."""

    ED25519 = 0x01
    ECDSA = 0x02
    COSIGNATURE_ED25519 = 0x04
    TREE_HEAD = 0x05
    COSIGNATURE_MLDSA44 = 0x06


_TYPES: Final = frozenset(int(each) for each in SignatureType)

COSIGNATURES: Final = frozenset(
    {SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44}
)


class _Verifier(Protocol):
    def verify(self, signature: bytes, message: bytes) -> None: ...


@dataclass(frozen=True)
class VKey:
    """A public key with a name and a type: all that it takes to verify its lines.

    Attributes:
        name: Key name; for a log, its origin.
        type: What its signatures look like and cover.
        public: 32 bytes of Ed25519, 1312 of ML-DSA-44, or a DER SubjectPublicKeyInfo.
    """

    name: str
    type: SignatureType
    public: bytes = field(repr=False)
    _verifier: _Verifier = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no key of its type."""
        check_key_name(self.name, code=_CODE)
        if self.type in COSIGNATURES and len(self.name.encode()) > MAX_NAME_BYTES:
            raise LogError(_CODE, f"the name of a cosigner has at most {MAX_NAME_BYTES} bytes")
        try:
            object.__setattr__(self, "_verifier", _verifier(self.type, self.public))
        except SignatureError as error:
            raise LogError(_CODE, str(error)) from None

    @property
    def key_id(self) -> int:
        """Which of the keys of that name: the first four bytes of a hash."""
        material = self.public
        if self.type is SignatureType.ECDSA:
            return _first_bytes(sha256(material))
        if self.type is SignatureType.TREE_HEAD:
            material = sha256(material)  # the LogID of RFC 6962
        return _first_bytes(sha256(self.name.encode() + bytes((0x0A, self.type)) + material))

    def to_text(self) -> str:
        """Return the vkey."""
        return f"{self.name}+{self.key_id:08x}+{write_base64(bytes((self.type,)) + self.public)}"

    def matches(self, line: SignatureLine) -> bool:
        """Whether `line` claims to be of this key; only `verify` tells whether it is."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def verify(self, text: str, line: SignatureLine) -> "Verified":
        """Return what this key says by `line` of the text of a note.

        Raises:
            LogError: `bad-signature`: the line is another key's, ill-formed, or does not verify.
        """
        if not self.matches(line):
            raise LogError("bad-signature", f"the line is of another key than {self.name}")
        try:
            time_ms, signature, message = _split(self, text, line.body())
            self._verifier.verify(signature, message)
        except (LogError, SignatureError) as error:
            raise LogError("bad-signature", f"{self.name}: {error}") from None
        return Verified(self, time_ms)


@dataclass(frozen=True)
class Verified:
    """A signature that verified.

    Attributes:
        key: Whose.
        time_ms: When, as its owner says, in milliseconds since 1970; None where the type has none.
            Zero makes no claim at all.
    """

    key: VKey
    time_ms: int | None


def parse_vkey(text: str) -> VKey:
    """Return the key that `text` is. Whether to trust it depends on where `text` came from.

    Raises:
        LogError: `bad-vkey`: another form, a type we do not verify, or another key id than its own.
    """
    if len(text) > MAX_VKEY_BYTES:
        raise LogError(_CODE, f"a verification key has at most {MAX_VKEY_BYTES} characters")
    parts = text.split("+", _PARTS - 1)
    if len(parts) != _PARTS:
        raise LogError(_CODE, "a verification key is <name>+<key id>+<key>")
    name, key_id, encoded = parts
    kind, public = read_typed(encoded, code=_CODE)
    key = VKey(name, kind, public)
    if key_id != f"{key.key_id:08x}":
        raise LogError(_CODE, f"the key id of {name} is {key.key_id:08x}")
    return key


def read_typed(encoded: str, *, code: str) -> tuple[SignatureType, bytes]:
    """Return the type and the key that stand together at the end of a vkey or skey."""
    raw = read_base64(encoded, code=code)
    if not raw or raw[0] not in _TYPES:
        raise LogError(code, "a key of a type that we do not verify")
    return SignatureType(raw[0]), raw[1:]


def verify_note(note: Note, keys: Sequence[VKey]) -> tuple[Verified, ...]:
    """Return what the known `keys` say by their signatures, in the order of the note.

    Lines of unknown keys are ignored, and so is all but the first line of a key.

    Raises:
        LogError: `ambiguous-key`: two of `keys` have one name and id. `bad-signature`: a line of a
            known key does not verify. `unverified`: no line is of a known key.
    """
    known = {(key.name, key.key_id): key for key in keys}
    if len(known) != len(keys):
        raise LogError("ambiguous-key", "two known keys have one name and one key id")
    verified: dict[VKey, Verified] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None and key not in verified:
            verified[key] = key.verify(note.text, line)
    if not verified:
        raise LogError("unverified", "no signature of a known key")
    return tuple(verified.values())


def _split(key: VKey, text: str, body: bytes) -> tuple[int | None, bytes, bytes]:
    """Return the time, the raw signature and the message that it must be over."""
    match key.type:
        case SignatureType.ED25519 | SignatureType.ECDSA:
            return None, body, text.encode()
        case SignatureType.COSIGNATURE_ED25519:
            cosigned = parse_cosignature(body, signature_bytes=signing.SIGNATURE_BYTES)
            message = ed25519_message(parse_checkpoint(text), cosigned.time_s)
            return cosigned.time_s * 1000, cosigned.signature, message
        case SignatureType.COSIGNATURE_MLDSA44:
            cosigned = parse_cosignature(body, signature_bytes=mldsa.SIGNATURE_BYTES)
            message = mldsa_message(key.name, parse_checkpoint(text), cosigned.time_s)
            return cosigned.time_s * 1000, cosigned.signature, message
        case SignatureType.TREE_HEAD:
            head = parse_tree_head_signature(body)
            message = tree_head_message(key.name, parse_checkpoint(text), head.time_ms)
            return head.time_ms, head.signature, message


def _verifier(kind: SignatureType, public: bytes) -> _Verifier:
    match kind:
        case SignatureType.ED25519 | SignatureType.COSIGNATURE_ED25519:
            return VerifyKey(public)
        case SignatureType.COSIGNATURE_MLDSA44:
            return MLDSAVerifyKey(public)
        case SignatureType.ECDSA | SignatureType.TREE_HEAD:
            return ECDSAVerifyKey(public)


def _first_bytes(digest: bytes) -> int:
    return int.from_bytes(digest[:KEY_ID_BYTES], "big")
