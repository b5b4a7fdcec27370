"""What identifies a person: names in several scripts, partial births, documents, numbers.

Sources: ICAO Doc 9303, ISO 8601-2, IOM HTCDS 2.0. Never more precise than the source: a mononym, a
year of birth alone, a stateless person are ordinary cases.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from stdnum.id import nik
from stdnum.my import nric
from stdnum.th import pin
from typing_extensions import override

from schemas.blocks.base import (
    Block,
    Country,
    Extension,
    Identifier,
    Language,
    Line,
    Nationality,
    ScriptCode,
    SHA256Hex,
    demand_unicode_burmese,
    refuse,
)
from schemas.blocks.when import EDTF, Calendar, Day
from schemas.label import Strict
from schemas.mrz import check_lines

MAX_MRZ_NAME: Final = 39  # the name field of a TD3 document


class NameKind(StrEnum):
    """Where a form of a name comes from."""

    LEGAL = "legal"
    ALIAS = "alias"
    NICKNAME = "nickname"
    TRANSLITERATION = "transliteration"


class NameOrder(StrEnum):
    """Order of the parts in the full form."""

    FAMILY_FIRST = "family-first"
    GIVEN_FIRST = "given-first"
    MONONYM = "mononym"


class DocumentType(StrEnum):
    """Kinds of identity documents."""

    PASSPORT = "passport"
    IDENTITY_CARD = "identity-card"
    VISA = "visa"
    RESIDENCE = "residence"
    SEAMAN = "seaman"
    DRIVING = "driving"


class DocumentStatus(StrEnum):
    """What is known of a document (INTERPOL SLTD)."""

    VALID = "valid"
    EXPIRED = "expired"
    LOST = "lost"
    STOLEN = "stolen"
    FORGED = "forged"
    BLANK_STOLEN = "blank-stolen"
    UNKNOWN = "unknown"


class IdentifierScheme(StrEnum):
    """National numbers with a check in software; any other is an extension code."""

    ID_NIK = "id-nik"
    MY_NRIC = "my-nric"
    TH_PIN = "th-pin"


class BiometricKind(StrEnum):
    """Kinds of records that a national system holds and this alert only refers to."""

    FACE = "face"
    FINGERPRINT = "fingerprint"
    PALMPRINT = "palmprint"
    IRIS = "iris"
    DNA = "dna"
    VOICE = "voice"


class NameParts(Strict):
    """Parts of a name where the source gives them; never required, never guessed."""

    surname: Line | None = None
    given: Line | None = None
    patronymic: Line | None = None
    particle: Line | None = None


class Name(Strict):
    """One form of a name as written, in one script."""

    full: Line
    script: ScriptCode | None = None
    lang: Language | None = None
    kind: NameKind = NameKind.LEGAL
    parts: NameParts | None = None
    order: NameOrder | None = None

    @model_validator(mode="after")
    def _burmese_is_unicode(self) -> Self:
        if self.lang == "my" or self.script == "Mymr":
            demand_unicode_burmese(self.full)
        return self

    @model_validator(mode="after")
    def _a_mononym_has_no_surname(self) -> Self:
        if self.order is NameOrder.MONONYM and self.parts and self.parts.surname:
            refuse("mononym-with-surname", "a mononym has no surname")
        return self


class AgeRange(Strict):
    """Youngest and oldest age the person may have, in years."""

    at_least: Annotated[int, Field(ge=0, le=130)]
    at_most: Annotated[int, Field(ge=0, le=130)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.at_least > self.at_most:
            refuse("age-range-reversed", "the youngest age is above the oldest")
        return self


class Birth(Strict):
    """Birth as precisely as known. The year is Gregorian whatever the calendar of the source."""

    edtf: EDTF | None = None
    calendar_as_given: Calendar = Calendar.GREGORIAN
    estimated: bool = False
    age: AgeRange | None = None
    place: Line | None = None
    country: Country | None = None


def _mrz_name(value: str) -> str:
    if set(value) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZ<"):
        refuse("not-an-mrz-name", "a name in a machine-readable zone holds A-Z and < only")
    return value


def _mrz_lines(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_lines(value)
    except ValueError:
        refuse("mrz-check", "the machine-readable zone fails its shape or a check digit")


MRZName = Annotated[str, Field(min_length=1, max_length=MAX_MRZ_NAME), AfterValidator(_mrz_name)]
MRZLine = Annotated[str, Field(min_length=30, max_length=44)]


class TravelDocument(Block):
    """An identity document. `issuing_state` may be an ICAO code (XXA, XXB, XXC, XXX)."""

    type: DocumentType | Extension
    number: Identifier
    issuing_state: Nationality | None = None
    issued: Day | None = None
    expires: Day | None = None
    status: DocumentStatus = DocumentStatus.UNKNOWN
    mrz_lines: (
        Annotated[
            tuple[MRZLine, ...], Field(min_length=2, max_length=3), AfterValidator(_mrz_lines)
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _issued_before_it_expires(self) -> Self:
        if self.issued and self.expires and self.issued > self.expires:
            refuse("document-dates", "a document expires before it is issued")
        return self


class NationalIdentifier(Block):
    """A national number of a person: always sensitive, never at TLP CLEAR or GREEN."""

    scheme: IdentifierScheme | Extension
    value: Identifier

    @model_validator(mode="after")
    def _thai_check_digit(self) -> Self:
        if self.scheme is IdentifierScheme.TH_PIN and not pin.is_valid(self.value):
            refuse("th-pin", "the Thai identity number fails its check digit")
        return self

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code where place or date inside the number is not in the known tables."""
        if self.scheme is IdentifierScheme.ID_NIK and not nik.is_valid(self.value):
            return ("national-identifier-unlikely",)
        if self.scheme is IdentifierScheme.MY_NRIC and not nric.is_valid(self.value):
            return ("national-identifier-unlikely",)
        return ()


class Biometric(Strict):
    """A biometric record held elsewhere: where to ask, and what it must hash to."""

    kind: BiometricKind
    reference: Identifier
    sha256: SHA256Hex | None = None
    standard: Line | None = None
