"""Private keys that sign notes and cosign checkpoints. Sources: as `broker.log.notekeys`."""

from typing import Final, Protocol

from typing_extensions import override

from broker.log.checkpoint import Checkpoint
from broker.log.cosignature import Cosignature, ed25519_message, mldsa_message
from broker.log.errors import LogError
from broker.log.line import write_base64
from broker.log.note import SignatureLine, check_text
from broker.log.notekeys import MAX_VKEY_BYTES, SignatureType, VKey, read_typed
from keys.errors import KeyFileError
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.signing import SignKey

_CODE: Final = "bad-skey"
_PREFIX: Final = "PRIVATE+KEY+"
_PARTS: Final = 3


class _Signer(Protocol):
    def sign(self, message: bytes) -> bytes: ...

    def seed(self) -> bytes: ...


class NoteSigner:
    """A private key with a name and a type. Its `repr` is silent about the key.

    It signs whatever it is given. That no two trees of one log are ever signed is for its owner to
    see to, who has the state that this takes.
    """

    def __init__(self, name: str, kind: SignatureType, seed: bytes) -> None:
        """Take the 32-byte seed of a key of type 0x01, 0x04 or 0x06.

        Raises:
            LogError: `bad-skey` or `bad-vkey`: no such key, or no name for one.
        """
        try:
            self._key, public = _signer(kind, seed)
        except KeyFileError as error:
            raise LogError(_CODE, str(error)) from None
        self.vkey = VKey(name, kind, public)

    @override
    def __repr__(self) -> str:
        return f"NoteSigner({self.vkey.name}, 0x{self.vkey.type:02x})"

    def to_secret_text(self) -> str:
        """Return the skey, for a key store alone."""
        raw = bytes((self.vkey.type,)) + self._key.seed()
        return f"{_PREFIX}{self.vkey.name}+{self.vkey.key_id:08x}+{write_base64(raw)}"

    def sign(self, text: str) -> SignatureLine:
        """Return the line over the text of any note; for a key of type 0x01.

        Raises:
            LogError: `bad-note`: no text of a note. `wrong-key-type`.
        """
        check_text(text)
        self._require(SignatureType.ED25519)
        return self._line(self._key.sign(text.encode()))

    def cosign(self, checkpoint: Checkpoint, *, time_s: int) -> SignatureLine:
        """Return the line that says: at `time_s` this was the largest consistent tree I had seen.

        Args:
            checkpoint: What the signer has checked against all that it signed before.
            time_s: Seconds since 1970; zero makes no claim about time, and a witness never uses it.

        Raises:
            LogError: `bad-cosignature`: extension lines under a key of type 0x06, or a field is out
                of its bounds. `wrong-key-type`.
        """
        if self.vkey.type is SignatureType.COSIGNATURE_MLDSA44:
            if checkpoint.extensions:  # whoever read them would take them for signed
                raise LogError("bad-cosignature", "extension lines, which type 0x06 does not cover")
            message = mldsa_message(self.vkey.name, checkpoint, time_s)
        else:
            self._require(SignatureType.COSIGNATURE_ED25519)
            message = ed25519_message(checkpoint, time_s)
        return self._line(Cosignature(time_s, self._key.sign(message)).to_body())

    def _require(self, kind: SignatureType) -> None:
        if self.vkey.type is not kind:
            raise LogError("wrong-key-type", f"a key of type 0x{self.vkey.type:02x} makes no such")

    def _line(self, body: bytes) -> SignatureLine:
        return SignatureLine.of(self.vkey.name, self.vkey.key_id, body)


def parse_skey(text: str) -> NoteSigner:
    """Return the private key that `text` is.

    Raises:
        LogError: `bad-skey` or `bad-vkey`; its message holds nothing of `text`.
    """
    parts = text.removeprefix(_PREFIX).split("+", _PARTS - 1)
    if not text.startswith(_PREFIX) or len(parts) != _PARTS or len(text) > MAX_VKEY_BYTES:
        raise LogError(_CODE, "a signing key is PRIVATE+KEY+<name>+<key id>+<key>")
    name, key_id, encoded = parts
    signer = NoteSigner(name, *read_typed(encoded, code=_CODE))
    if key_id != f"{signer.vkey.key_id:08x}":
        raise LogError(_CODE, "the key id of the signing key is another one")
    return signer


def _signer(kind: SignatureType, seed: bytes) -> tuple[_Signer, bytes]:
    match kind:
        case SignatureType.ED25519 | SignatureType.COSIGNATURE_ED25519:
            ed25519 = SignKey(seed)
            return ed25519, ed25519.public.raw
        case SignatureType.COSIGNATURE_MLDSA44:
            ml_dsa = MLDSASignKey(seed)
            return ml_dsa, ml_dsa.public.raw
        case SignatureType.ECDSA | SignatureType.TREE_HEAD:
            raise LogError("wrong-key-type", "we make no signatures of this type")
