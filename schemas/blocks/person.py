"""A person as far as known, and protected where the law protects.

Left out of version 1: pictures and raw biometrics (a reference and a hash only), and religion,
ethnicity and opinions, which need a human review that no schema can do (rule R14).
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from schemas.blocks.base import MAX_FEW, Block, Language, Line, Nationality, Text, refuse
from schemas.blocks.contact import OnlineAccount, Phone
from schemas.blocks.identity import (
    Biometric,
    Birth,
    MRZName,
    Name,
    NationalIdentifier,
    TravelDocument,
)
from schemas.blocks.location import Location
from schemas.blocks.offence import Offence, punishes_victims
from schemas.blocks.when import bounds
from schemas.label import Strict

ADULT_AGE: Final = 18  # Palermo Protocol, article 3(d)


class PersonRole(StrEnum):
    """What the person is in this alert."""

    SUSPECT = "suspect"
    WANTED = "wanted"
    VICTIM = "victim"
    POSSIBLE_VICTIM = "possible-victim"
    WITNESS = "witness"
    MISSING = "missing"
    FACILITATOR = "facilitator"
    OWNER = "owner"
    UNKNOWN = "unknown"

    @property
    def is_victim(self) -> bool:
        """Whether the rules that protect victims apply."""
        return self in (PersonRole.VICTIM, PersonRole.POSSIBLE_VICTIM)


class Sex(StrEnum):
    """Sex as in a travel document (ICAO), with U where it is not known."""

    MALE = "M"
    FEMALE = "F"
    OTHER = "X"
    UNKNOWN = "U"


class Gender(StrEnum):
    """Gender as stated by the person (HTCDS); never derived from `sex`."""

    FEMININE = "feminine"
    MASCULINE = "masculine"
    TRANSGENDER_FEMININE = "transgender-feminine"
    TRANSGENDER_MASCULINE = "transgender-masculine"
    NON_CONFORMING = "non-conforming"
    NOT_KNOWN = "not-known"


class Tri(StrEnum):
    """An answer that may not be known."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Consent(StrEnum):
    """Whether the person agreed to this sharing (HTCDS, IOM screening form)."""

    GIVEN = "given"
    NOT_GIVEN = "not-given"
    NOT_APPLICABLE = "not-applicable"


class Description(Strict):
    """What a witness could say."""

    height_cm: Annotated[int, Field(ge=30, le=260)] | None = None
    weight_kg: Annotated[int, Field(ge=1, le=400)] | None = None
    eyes: Line | None = None
    hair: Line | None = None
    marks: Annotated[tuple[Text, ...], Field(max_length=MAX_FEW)] = ()


class Protection(Strict):
    """What protects this person in this alert.

    Attributes:
        minor: Under 18.
        consent: To the sharing of this record.
        need: Why a record of one victim is needed where a count would not do.
        referral: Assistance asked for or given.
        do_not_identify: Nothing that identifies the person may be carried.
    """

    minor: Tri = Tri.UNKNOWN
    consent: Consent = Consent.NOT_APPLICABLE
    need: Line | None = None
    referral: Line | None = None
    do_not_identify: bool = False


IDENTIFYING: Final = (
    "names",
    "name_mrz",
    "documents",
    "identifiers",
    "biometrics",
    "phones",
    "accounts",
    "description",
)
LOCATING: Final = ("locations", "phones", "accounts")


class Person(Block):
    """A person. Only the role is required; a victim's record must say why it is needed."""

    role: PersonRole
    names: Annotated[tuple[Name, ...], Field(max_length=MAX_FEW)] = ()
    name_mrz: MRZName | None = None
    sex: Sex = Sex.UNKNOWN
    gender: Gender | None = None
    birth: Birth | None = None
    nationalities: Annotated[tuple[Nationality, ...], Field(max_length=8)] = ()
    languages: Annotated[tuple[Language, ...], Field(max_length=8)] = ()
    documents: Annotated[tuple[TravelDocument, ...], Field(max_length=MAX_FEW)] = ()
    identifiers: Annotated[tuple[NationalIdentifier, ...], Field(max_length=MAX_FEW)] = ()
    description: Description | None = None
    biometrics: Annotated[tuple[Biometric, ...], Field(max_length=MAX_FEW)] = ()
    phones: Annotated[tuple[Phone, ...], Field(max_length=MAX_FEW)] = ()
    accounts: Annotated[tuple[OnlineAccount, ...], Field(max_length=MAX_FEW)] = ()
    locations: Annotated[tuple[Location, ...], Field(max_length=MAX_FEW)] = ()
    offences: Annotated[tuple[Offence, ...], Field(max_length=MAX_FEW)] = ()
    protection: Protection = Protection()
    remarks: Text | None = None

    @property
    def may_be_minor(self) -> bool:
        """Whether the person is, or for a victim of unknown age must be treated as, a child."""
        if self.protection.minor is Tri.YES:
            return True
        return self.role.is_victim and self.protection.minor is Tri.UNKNOWN

    @property
    def is_identified(self) -> bool:
        """Whether any field is stated by which the person can be identified."""
        return self.states(IDENTIFYING)

    def states(self, fields: tuple[str, ...]) -> bool:
        """Return whether any of `fields` holds something."""
        return any(getattr(self, field) not in (None, ()) for field in fields)

    def surely_minor(self, on: date) -> bool:
        """Return whether birth or age leaves no doubt that the person is a child on `on`."""
        if self.birth is None:
            return False
        if self.birth.edtf and _age(bounds(self.birth.edtf)[0], on) < ADULT_AGE:
            return True
        return self.birth.age is not None and self.birth.age.at_most < ADULT_AGE

    @model_validator(mode="after")
    def _minors_are_not_shown(self) -> Self:
        if self.may_be_minor and any(item.kind == "face" for item in self.biometrics):
            refuse("minor-face", "no face of a minor, nor of a victim of unknown age")
        if self.role.is_victim and self.may_be_minor:
            if self.states(IDENTIFYING):
                refuse("minor-victim-identified", "nothing may identify a victim who is a minor")
            if self.states(LOCATING):
                refuse("minor-victim-located", "nothing may locate a victim who is a minor")
            if self.birth and self.birth.edtf and "-" in self.birth.edtf:
                refuse("minor-victim-birth", "of a minor victim the year of birth at most")
            if self.birth and self.birth.place:
                refuse("minor-victim-birth", "no birth place of a minor victim")
            if self.remarks:
                refuse("minor-victim-remarks", "no free text on a minor victim")
        return self

    @model_validator(mode="after")
    def _victims_are_protected(self) -> Self:
        if not self.role.is_victim:
            return self
        if self.protection.need is None:
            refuse("victim-without-need", "a victim's record must say why a count would not do")
        if self.is_identified and self.protection.consent is not Consent.GIVEN:
            refuse("victim-without-consent", "identifying a victim needs the victim's consent")
        for offence in self.offences:
            if offence.iccs is None or punishes_victims(offence.iccs):
                refuse("victim-punished", "this offence may not be attached to a victim")
        return self

    @model_validator(mode="after")
    def _protected_persons_are_not_identified(self) -> Self:
        if self.protection.do_not_identify and self.is_identified:
            refuse("do-not-identify", "this person must not be identified")
        return self


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
