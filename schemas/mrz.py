"""Machine-readable zones of travel documents. Source: ICAO Doc 9303, parts 3 to 7."""

from itertools import cycle
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WEIGHTS: Final = (7, 3, 1)
_TD1, _TD2, _TD3 = (3, 30), (2, 36), (2, 44)  # lines, characters in each


def check_digit(field: str) -> str:
    """Return the check digit of `field`: weights 7, 3, 1; letters count 10 to 35, filler 0."""
    total = sum(_value(c) * w for c, w in zip(field, cycle(_WEIGHTS), strict=False))
    return str(total % 10)


def check_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines of a TD1, TD2 or TD3 document or of a visa, every check digit verified.

    Raises:
        ValueError: Another shape, a character outside A-Z, 0-9 and filler, or a wrong digit.
    """
    if any(set(line) - set(_ALPHABET) - {"<"} for line in lines):
        raise ValueError("a machine-readable line holds A-Z, 0-9 and < only")
    shape = (len(lines), len(lines[0])) if lines else (0, 0)
    if any(len(line) != shape[1] for line in lines) or shape not in (_TD1, _TD2, _TD3):
        raise ValueError("machine-readable lines are 3 of 30, 2 of 36 or 2 of 44 characters")
    if shape == _TD1:
        _check_td1(*lines)
    elif shape == _TD2:
        _check_td2(*lines)
    else:
        _check_td3(*lines)
    return lines


def _check_td1(first: str, second: str, _names: str) -> None:
    if first[14] == "<":  # a number longer than nine characters goes on in the optional field
        extra = first[15:30].rstrip("<")
        _demand(first[5:14] + extra[:-1], extra[-1:], "document number")
    else:
        _demand(first[5:14], first[14], "document number")
    _demand_dates(second[0:6], second[6], second[8:14], second[14])
    _demand(first[5:30] + second[0:7] + second[8:15] + second[18:29], second[29], "composite")


def _check_td2(first: str, second: str) -> None:
    _demand(second[0:9], second[9], "document number")
    _demand_dates(second[13:19], second[19], second[21:27], second[27])
    if first[0] != "V":  # a visa of format B has no composite digit
        _demand(second[0:10] + second[13:20] + second[21:35], second[35], "composite")


def _check_td3(first: str, second: str) -> None:
    _demand(second[0:9], second[9], "document number")
    _demand_dates(second[13:19], second[19], second[21:27], second[27])
    if first[0] == "V":  # a visa of format A has neither of the last two digits
        return
    if second[28:42].strip("<") or second[42] != "<":  # empty optional data may go unchecked
        _demand(second[28:42], second[42], "optional data")
    _demand(second[0:10] + second[13:20] + second[21:43], second[43], "composite")


def _demand_dates(birth: str, birth_digit: str, expiry: str, expiry_digit: str) -> None:
    _demand(birth, birth_digit, "date of birth")
    _demand(expiry, expiry_digit, "date of expiry")


def _demand(field: str, digit: str, what: str) -> None:
    if check_digit(field) != digit:
        raise ValueError(f"the check digit of the {what} does not fit")


def _value(character: str) -> int:
    return 0 if character == "<" else _ALPHABET.index(character)
