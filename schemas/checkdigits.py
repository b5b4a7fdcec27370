"""Checked identifiers: each function returns the compact form of a value or says why it is wrong.

Sources: IMO A.1117(30), ISO 6346, ICAO Doc 9303-3 to -7, ISO 13616 (IBAN), ISO 9362 (BIC),
ISO 17442 (LEI), the CAS registry, ITU-T E.164, 3GPP TS 23.003 (IMEI, IMSI), UPU S10, IATA
Resolution 600a (air waybill), BIP-173 and BIP-350 (bech32, bech32m), TRON and Bitcoin base58check.
The messages never hold the value.
"""

import re
from collections.abc import Callable
from typing import Final

import phonenumbers
from stdnum import bic, casrn, iban, imei, imo, imsi, iso6346, lei
from stdnum.exceptions import ValidationError as NumberError

_CONTAINER: Final = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")
_S10: Final = re.compile(r"[A-Z]{2}[0-9]{9}[A-Z]{2}")
_S10_WEIGHTS: Final = (8, 6, 4, 2, 3, 5, 9, 7)
_AWB: Final = re.compile(r"([0-9]{3})-?([0-9]{8})")
_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN_LETTERS: Final = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (*range(1, 9), 1, 2, 3, 4, 5, 7, 9, *range(2, 10)), strict=True)
)
_VIN_CHECK_AT: Final = 8
_IMEI_DIGITS: Final = 15


def check_imo(value: str) -> str:
    """Return the seven digits of a ship's IMO number."""
    return _standard(imo.validate, value, "an IMO number is seven digits with a check digit")


def check_container(value: str) -> str:
    """Return an ISO 6346 container number: owner, category U, J or Z, serial, check digit."""
    plain = value.replace("-", "")
    compact = _standard(iso6346.validate, plain, "the container number fails its check digit")
    if not _CONTAINER.fullmatch(compact):
        raise ValueError("a container number is three letters, U, J or Z, and seven digits")
    return compact


def check_iban(value: str) -> str:
    """Return an IBAN whose length, structure and two check digits fit its country."""
    return _standard(iban.validate, value, "the IBAN fails its structure or check digits")


def check_bic(value: str) -> str:
    """Return a BIC of 8 or 11 characters."""
    return _standard(bic.validate, value, "a BIC is 8 or 11 characters with a country code")


def check_lei(value: str) -> str:
    """Return a legal entity identifier (mod 97)."""
    return _standard(lei.validate, value, "the LEI fails its check digits")


def check_cas(value: str) -> str:
    """Return a CAS registry number in its hyphenated form."""
    return _standard(casrn.validate, value, "the CAS number fails its check digit")


def check_imei(value: str) -> str:
    """Return the 15 digits of an IMEI, the last one a Luhn check digit."""
    compact = _standard(imei.validate, value, "the IMEI fails its check digit")
    if len(compact) != _IMEI_DIGITS:
        raise ValueError("an IMEI is given with its check digit: 15 digits")
    return compact


def check_imsi(value: str) -> str:
    """Return an IMSI of 14 or 15 digits."""
    return _standard(imsi.validate, value, "an IMSI is 14 or 15 digits")


def check_phone(value: str) -> str:
    """Return an E.164 number that is possible in its numbering plan.

    Whether it is assigned (`is_likely_phone`) is a doubt and no error: plans change faster than
    any table, and the tables for Myanmar and Timor-Leste are often wrong.
    """
    compact = re.sub(r"[ ().-]", "", value)
    if not _E164.fullmatch(compact):
        raise ValueError("a phone number is + and up to 15 digits, country code first")
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(compact))
    except phonenumbers.NumberParseException:
        possible = False
    if not possible:
        raise ValueError("the number is impossible in its country's numbering plan")
    return compact


def is_likely_phone(value: str) -> bool:
    """Return whether a number that passed `check_phone` lies in a range known to be in use."""
    return bool(phonenumbers.is_valid_number(phonenumbers.parse(value)))


def check_s10(value: str) -> str:
    """Return a UPU S10 postal item identifier."""
    compact = value.replace(" ", "").upper()
    if not _S10.fullmatch(compact):
        raise ValueError("a postal item is two letters, nine digits, two letters")
    total = sum(int(d) * w for d, w in zip(compact[2:10], _S10_WEIGHTS, strict=True))
    if int(compact[10]) != {10: 0, 11: 5}.get(11 - total % 11, 11 - total % 11):
        raise ValueError("the postal item identifier fails its check digit")
    return compact


def check_awb(value: str) -> str:
    """Return an air waybill number: three digits, a hyphen, eight digits."""
    match = _AWB.fullmatch(value.replace(" ", ""))
    if match is None:
        raise ValueError("an air waybill is three digits and eight digits")
    if int(match[2][:7]) % 7 != int(match[2][7]):
        raise ValueError("the air waybill fails its check digit")
    return f"{match[1]}-{match[2]}"


def check_vin(value: str) -> str:
    """Return a vehicle identification number of 17 characters, check digit not demanded."""
    compact = value.replace(" ", "").upper()
    if not _VIN.fullmatch(compact):
        raise ValueError("a VIN is 17 letters and digits without I, O and Q")
    return compact


def is_north_american_vin(value: str) -> bool:
    """Return whether position 9 is the check digit that only North America demands."""
    total = sum(
        (int(c) if c.isdigit() else _VIN_LETTERS[c]) * w
        for c, w in zip(value, _VIN_WEIGHTS, strict=True)
    )
    return value[_VIN_CHECK_AT] == "0123456789X"[total % 11]


def _standard(validate: Callable[[str], str], value: str, message: str) -> str:
    try:
        return str(validate(value))
    except NumberError:
        raise ValueError(message) from None
