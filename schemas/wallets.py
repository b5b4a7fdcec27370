"""Addresses of crypto-currency wallets. Sources: BIP-13, BIP-173, BIP-350, TRON's address format.

python-stdnum 2.2 refuses taproot addresses, so bech32 and bech32m stand here. EIP-55 needs
Keccak-256, which neither hashlib nor a dependency offers: an Ethereum address is checked for its
form only, and a mixed-case one is reported as not verified.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_CONSTANT: Final = 1
_BECH32M_CONSTANT: Final = 0x2BC830A3
_CHECKSUM_WORDS: Final = 6
_MAX_BECH32: Final = 90  # BIP-173
_MAX_BASE58: Final = 64  # a 25-byte payload needs 35; longer input is quadratic work for nothing
_MAX_WITNESS_VERSION: Final = 16
_PROGRAM_BYTES: Final = range(2, 41)
_V0_PROGRAM_BYTES: Final = (20, 32)
_HASH160_PAYLOAD_BYTES: Final = 21
_BITCOIN_PREFIXES: Final = (0x00, 0x05)  # pay to public key hash, pay to script hash
_TRON_PREFIX: Final = 0x41
_ETHEREUM: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def check_bitcoin(value: str) -> str:
    """Return a Bitcoin main-net address: base58check, bech32 (v0) or bech32m (v1 and above)."""
    if value[:3].lower() == "bc1":
        return check_segwit(value, "bc")
    payload = decode_base58check(value)
    if len(payload) != _HASH160_PAYLOAD_BYTES or payload[0] not in _BITCOIN_PREFIXES:
        raise ValueError("not a Bitcoin main-net address")
    return value


def check_tron(value: str) -> str:
    """Return a TRON address: base58check with prefix byte 0x41."""
    payload = decode_base58check(value)
    if len(payload) != _HASH160_PAYLOAD_BYTES or payload[0] != _TRON_PREFIX:
        raise ValueError("not a TRON address")
    return value


def check_ethereum(value: str) -> str:
    """Return a 20-byte hexadecimal address; the EIP-55 checksum is not verified."""
    if not _ETHEREUM.fullmatch(value):
        raise ValueError("an Ethereum address is 0x and 40 hexadecimal digits")
    return value


def check_segwit(value: str, network: str) -> str:
    """Return a segwit address of `network` (its human-readable part), in lower case."""
    if value not in {value.lower(), value.upper()} or len(value) > _MAX_BECH32:
        raise ValueError("a bech32 address has one case and at most 90 characters")
    human, _, rest = value.lower().rpartition("1")
    if human != network or len(rest) <= _CHECKSUM_WORDS or not set(rest) <= set(_BECH32):
        raise ValueError("not a bech32 address of this network")
    words = [_BECH32.index(character) for character in rest]
    version, constant = words[0], _polymod(_expanded(human) + words)
    if version > _MAX_WITNESS_VERSION or constant != (
        _BECH32M_CONSTANT if version else _BECH32_CONSTANT
    ):
        raise ValueError("the bech32 checksum does not fit")
    size = _program_bytes(words[1:-_CHECKSUM_WORDS])
    if size not in _PROGRAM_BYTES or (version == 0 and size not in _V0_PROGRAM_BYTES):
        raise ValueError("the witness program has a wrong length")
    return value.lower()


def decode_base58check(value: str) -> bytes:
    """Return the payload without its four checksum bytes."""
    if not 0 < len(value) <= _MAX_BASE58 or not set(value) <= set(_BASE58):
        raise ValueError("not base58")
    number = 0
    for character in value:
        number = number * 58 + _BASE58.index(character)
    zeros = len(value) - len(value.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = raw[:-4], raw[-4:]
    if not payload or sha256(sha256(payload).digest()).digest()[:4] != checksum:
        raise ValueError("the base58 checksum does not fit")
    return payload


def _expanded(human: str) -> list[int]:
    return [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _program_bytes(words: list[int]) -> int:
    size, spare = divmod(len(words) * 5, 8)
    if spare > 4 or (spare and words[-1] & (1 << spare) - 1):  # noqa: PLR2004 - BIP-173
        raise ValueError("the witness program has wrong padding")
    return size
