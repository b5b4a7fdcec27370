"""ML-DSA-44 and ECDSA: what verifies, what does not, and keys that are none."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyFileError, SignatureError
from keys.primitives.ecdsa import ECDSAVerifyKey
from keys.primitives.mldsa import PUBLIC_BYTES, SIGNATURE_BYTES, MLDSASignKey, MLDSAVerifyKey

SIGNER = MLDSASignKey(bytes(32))
CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


def _spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_an_ml_dsa_signature_verifies_and_only_over_its_message() -> None:
    signature = SIGNER.sign(b"tree")
    assert (len(signature), len(SIGNER.public.raw)) == (SIGNATURE_BYTES, PUBLIC_BYTES)
    SIGNER.public.verify(signature, b"tree")
    with pytest.raises(SignatureError):
        SIGNER.public.verify(signature, b"treE")


def test_an_ml_dsa_key_comes_back_from_its_seed_and_is_silent() -> None:
    key = MLDSASignKey.generate()
    assert MLDSASignKey(key.seed()).public.raw == key.public.raw
    assert repr(key) == "MLDSASignKey(...)"
    assert key.public.raw != SIGNER.public.raw


@given(st.binary(max_size=80), st.integers(0, SIGNATURE_BYTES * 8 - 1))
def test_no_other_bytes_are_an_ml_dsa_signature(junk: bytes, bit: int) -> None:
    signature = bytearray(SIGNER.sign(b"tree"))
    signature[bit // 8] ^= 1 << bit % 8
    for wrong in (junk, bytes(signature), bytes(signature[:-1])):
        with pytest.raises(SignatureError):
            SIGNER.public.verify(wrong, b"tree")


def test_ml_dsa_keys_of_another_length_are_refused() -> None:
    for size in (0, PUBLIC_BYTES - 1, PUBLIC_BYTES + 1):
        with pytest.raises(SignatureError):
            MLDSAVerifyKey(bytes(size))
    with pytest.raises(KeyFileError):
        MLDSASignKey(bytes(31))


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: str(curve.name))
def test_an_ecdsa_signature_verifies_and_only_over_its_message(curve: ec.EllipticCurve) -> None:
    private = ec.generate_private_key(curve)
    signature = private.sign(b"tree", ec.ECDSA(hashes.SHA256()))
    key = ECDSAVerifyKey(_spki(private.public_key()))
    key.verify(signature, b"tree")
    for wrong, message in ((signature, b"treE"), (signature + b"\0", b"tree"), (b"", b"tree")):
        with pytest.raises(SignatureError):
            key.verify(wrong, message)


def test_other_kinds_of_key_and_other_encodings_are_refused() -> None:
    good = _spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    others = [
        _spki(ec.generate_private_key(ec.SECP256K1()).public_key()),
        _spki(ed25519.Ed25519PrivateKey.generate().public_key()),
        good + b"\0",
        base64.b64encode(good),
        b"",
    ]
    for other in others:
        with pytest.raises(SignatureError):
            ECDSAVerifyKey(other)


def test_a_compressed_point_is_another_encoding_of_the_key() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    header = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    with pytest.raises(SignatureError):
        ECDSAVerifyKey(header + point)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_no_ecdsa_key(raw: bytes) -> None:
    with pytest.raises(SignatureError):
        ECDSAVerifyKey(raw)
