"""A secret in shares: any `threshold` of them give it back, fewer tell nothing of it.

Source: A. Shamir, How to share a secret, CACM 22 (1979), over GF(2^8) with the polynomial of
FIPS 197 section 4.2. Each byte is the value at 0 of a polynomial of its own, of which all other
coefficients are random; share x holds the values at x.

Not constant in time: it runs in a ceremony, offline, where nobody measures. Own code, because the
libraries of this kind are unkept or bound to another format, and this is forty lines.
"""

from collections.abc import Mapping
from typing import Final

from keys.errors import KeyFileError
from keys.primitives.hashing import random_bytes

MAX_SHARES: Final = 255  # the field has no further element but 0, which is the secret itself
_POLYNOMIAL: Final = 0x11B
_INVERSE_EXPONENT: Final = 254  # a**255 is 1 for each a but 0


def split(secret: bytes, *, threshold: int, shares: int) -> tuple[bytes, ...]:
    """Return shares 1, 2, ... of `secret`, each as long as it is.

    Raises:
        KeyFileError: `bad-threshold`: not 1 <= threshold <= shares <= 255.
    """
    if not 1 <= threshold <= shares <= MAX_SHARES:
        raise KeyFileError("bad-threshold", f"{threshold} of {shares} shares cannot be asked for")
    coefficients = [random_bytes(len(secret)) for _ in range(threshold - 1)]
    return tuple(_value(x, [*coefficients, secret]) for x in range(1, shares + 1))


def join(shares: Mapping[int, bytes], *, at: int = 0) -> bytes:
    """Return the secret: the value at 0 of the polynomials through all of `shares`.

    Any shares give some value. Whether it is the secret, the caller must know by other means.

    Args:
        shares: By number; exactly as many as the threshold, or more.
        at: Another place of the polynomials than the secret's.

    Raises:
        KeyFileError: `bad-share`: none, a number out of bounds, or two lengths.
    """
    lengths = {len(share) for share in shares.values()}
    if len(lengths) != 1 or not all(0 <= x <= MAX_SHARES for x in shares):
        raise KeyFileError("bad-share", "these are not shares of one secret")
    joined = bytearray(lengths.pop())
    for x, share in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = _times(weight, _times(at ^ other, _inverse(x ^ other)))
        for place, value in enumerate(share):
            joined[place] ^= _times(weight, value)
    return bytes(joined)


def _value(x: int, coefficients: list[bytes]) -> bytes:
    """Return the polynomials' values at `x`; the constants stand last."""
    values = bytes(len(coefficients[0]))
    for coefficient in coefficients:
        values = bytes(_times(value, x) ^ c for value, c in zip(values, coefficient, strict=True))
    return values


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a <<= 1
        a ^= _POLYNOMIAL if a & 0x100 else 0
        b >>= 1
    return product


def _inverse(a: int) -> int:
    power = 1
    for _ in range(_INVERSE_EXPONENT):
        power = _times(power, a)
    return power
