"""What is allowed in an alert but looks wrong: a warning to the officer, no refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.common import Alert
from schemas.walk import parts


@dataclass(frozen=True)
class Doubt:
    """A field and the code of what looks wrong with it; the value is not repeated."""

    field: str
    code: str


def phrase(code: str, english: str) -> tuple[str, str]:
    """Return a text that stands in the catalogues under its code."""
    return code, english


WORDS: Final[Mapping[str, str]] = dict(
    (
        phrase("doubt-attack-technique-withdrawn", "ATT&CK has withdrawn this technique"),
        phrase("doubt-cas-of-another-substance", "the CAS number is another substance's"),
        phrase("doubt-mmsi-of-another-flag", "the MMSI is one of another flag"),
        phrase("doubt-national-identifier-unlikely", "no such number is known to be issued"),
        phrase("doubt-phone-range-not-known", "no such range of numbers is known to be in use"),
        phrase("doubt-registration-of-another-state", "the registration is another state's"),
        phrase("doubt-vin-without-check-digit", "the VIN has no check digit that could be tested"),
        phrase("doubt-wallet-not-verified", "the address has no checksum that could be tested"),
        phrase("doubt-weekday-of-another-date", "that date is another day of the week"),
    )
)
"""By message code, `doubt-` and the doubt's code."""


def doubts(alert: Alert) -> tuple[Doubt, ...]:
    """Return every doubt about `alert`, in the order of its fields."""
    found = []
    for path, part in parts(alert):
        report = getattr(part, "doubts", None)
        if callable(report):
            found += [Doubt(path, code) for code in report()]
    return tuple(found)
