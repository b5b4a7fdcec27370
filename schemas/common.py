"""The sealed header that every alert shares, whatever its type.

The label carries what a policy may look at; everything here is sealed to the recipients. Handling,
purposes and retention therefore stand in the label alone and are not repeated.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, ValidationError, model_validator

from schemas.blocks.base import (
    MAX_FEW,
    MAX_MANY,
    Country,
    Extension,
    Identifier,
    Language,
    Line,
    SHA256Hex,
    Text,
    refuse,
)
from schemas.blocks.contact import Email, PhoneNumber
from schemas.blocks.offence import Offence
from schemas.blocks.person import Person, Tri
from schemas.blocks.when import Day, bounds
from schemas.errors import SchemaError
from schemas.label import Strict

MAX_ORIGINAL_BYTES: Final = 64 * 1024 * 1024  # of a document that stays behind; its hash travels


class Certainty(StrEnum):
    """How far the originator stands behind the alert."""

    REPORTED = "reported"
    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"


class Contact(Strict):
    """Whom to ask: a function that is always staffed, never a person."""

    function: Line
    phones: Annotated[tuple[PhoneNumber, ...], Field(max_length=4)] = ()
    emails: Annotated[tuple[Email, ...], Field(max_length=4)] = ()
    hours: Line | None = None


class Instrument(StrEnum):
    """Treaties and arrangements under which information is shared."""

    ASEAN_MLAT_2004 = "asean-mlat-2004"
    ASEAN_ACTIP_2015 = "asean-actip-2015"
    UN_1961 = "un-1961"
    UN_1971 = "un-1971"
    UN_1988 = "un-1988"
    UNTOC_2000 = "untoc-2000"
    PALERMO_TIP_2000 = "palermo-tip-2000"
    UN_CYBERCRIME_2024 = "un-cybercrime-2024"
    INTERPOL_RPD = "interpol-rpd"
    ASEANAPOL = "aseanapol"
    BILATERAL = "bilateral"
    NATIONAL_LAW = "national-law"


class LegalBasis(Strict):
    """An instrument, and the provision of it where one is meant."""

    instrument: Instrument | Extension
    provision: Line | None = None
    country: Country | None = None

    @model_validator(mode="after")
    def _national_law_names_its_country(self) -> Self:
        if self.instrument is Instrument.NATIONAL_LAW and not (self.country and self.provision):
            refuse("national-law-without-country", "national law needs its country and provision")
        return self


class Scheme(StrEnum):
    """Schemes of evaluation, kept as given and never converted."""

    FOUR_BY_FOUR = "4x4"
    THREE_FIVE_TWO = "3x5x2"
    ADMIRALTY = "admiralty"


_GRADES: Final[Mapping[Scheme, tuple[str, str]]] = {  # letters of source, then of information
    Scheme.FOUR_BY_FOUR: ("ABCX", "1234"),
    Scheme.THREE_FIVE_TWO: ("123", "ABCDE"),
    Scheme.ADMIRALTY: ("ABCDEF", "123456"),
}
_NOT_CONFIRMABLE: Final[Mapping[Scheme, tuple[str, str]]] = {
    Scheme.FOUR_BY_FOUR: ("X", "4"),
    Scheme.THREE_FIVE_TWO: ("", "DE"),
    Scheme.ADMIRALTY: ("F", "6"),
}


class Evaluation(Strict):
    """Grades of source and information in one scheme; handling belongs to the label."""

    scheme: Scheme
    source: Annotated[str, Field(pattern=r"^[A-Z0-9]$")]
    information: Annotated[str, Field(pattern=r"^[A-Z0-9]$")]

    @model_validator(mode="after")
    def _grades_belong_to_the_scheme(self) -> Self:
        sources, informations = _GRADES[self.scheme]
        if self.source not in sources or self.information not in informations:
            refuse("r11-evaluation-scheme", "a grade does not belong to the declared scheme")
        return self

    @property
    def cannot_be_confirmed(self) -> bool:
        """Whether these grades contradict an alert that calls itself confirmed."""
        sources, informations = _NOT_CONFIRMABLE[self.scheme]
        return self.source in sources or self.information in informations


class Method(StrEnum):
    """Who translated."""

    HUMAN = "human"
    MACHINE = "machine"


class Translation(Strict):
    """Another language's words for one text; never replaces it.

    Attributes:
        of: Dotted path of the text, `texts.0` or `h3_text.0`.
        text: The translation.
        method: By a human or a machine.
        by: The office or the system that translated.
    """

    of: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32}){0,7}$")]
    text: Text
    method: Method
    by: Line | None = None


class LinkKind(StrEnum):
    """What a reference points to."""

    PARENT = "parent"
    DUPLICATE = "duplicate"
    RELATED_ALERT = "related-alert"
    JOINT_OPERATION = "joint-operation"
    CASE = "case"
    MLA = "mla"
    INTERPOL = "interpol"


class Link(Strict):
    """A reference to another alert, case, operation, request for assistance or notice."""

    kind: LinkKind | Extension
    ref: Identifier
    owner: Annotated[str, Field(pattern=r"^[A-Z0-9-]{2,16}$")] | None = None
    subkind: Line | None = None


def _file_name_has_no_path(value: str) -> bool:
    return not set(value) & set("/\\:") and value not in {".", ".."}


class Original(Strict):
    """The document this alert was made from: its hash always, its bytes where they fit."""

    sha256: SHA256Hex
    media_type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}$")]
    bytes: Annotated[int, Field(ge=1, le=MAX_ORIGINAL_BYTES)]
    name: Annotated[Line, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _the_name_is_no_path(self) -> Self:
        if self.name is not None and not _file_name_has_no_path(self.name):
            refuse("file-name-with-path", "the name of the original holds a path")
        return self


class Alert(Strict):
    """Base of every alert.

    Attributes:
        certainty: How far the originator stands behind it.
        as_of: The day on which the statements hold and ages are reckoned.
        national_ref: The originator's case or file number.
        unit: The unit behind the agency of the label.
        contact: A function to ask, never a person.
        offences: At least one, with an ICCS code (rule R13).
        legal_basis: Why this may be shared.
        evaluation: Grades of source and information, for intelligence.
        language: Main language of the texts.
        texts: Free text, each with its language.
        translations: Of any text here, marked human or machine.
        links: References to other alerts, cases and requests.
        h3_text: What handling code H3 of the label restricts; required with it.
        informant_risk: Somebody is in danger if the source shows.
        controlled_delivery: An operation is running that an intervention would spoil.
        original: The document this alert was made from.
    """

    TYPE: ClassVar[str]
    VERSION: ClassVar[int]

    certainty: Certainty
    as_of: Day
    national_ref: Identifier
    unit: Line | None = None
    contact: Contact
    offences: Annotated[tuple[Offence, ...], Field(min_length=1, max_length=MAX_FEW)]
    legal_basis: Annotated[tuple[LegalBasis, ...], Field(min_length=1, max_length=MAX_FEW)]
    evaluation: Evaluation | None = None
    language: Language
    texts: Annotated[tuple[Text, ...], Field(max_length=MAX_FEW)] = ()
    translations: Annotated[tuple[Translation, ...], Field(max_length=MAX_MANY)] = ()
    links: Annotated[tuple[Link, ...], Field(max_length=MAX_MANY)] = ()
    h3_text: Annotated[tuple[Text, ...], Field(max_length=8)] = ()
    informant_risk: bool = False
    controlled_delivery: bool = False
    original: Original | None = None

    @property
    def people(self) -> tuple[Person, ...]:
        """Every person of the alert, whatever list they stand in."""
        return ()

    @property
    def concerns_victims(self) -> bool:
        """Whether victims are spoken of without a record of each."""
        return False

    @property
    def concerns_minors(self) -> bool:
        """Whether minors are spoken of without a record of each."""
        return False

    @model_validator(mode="after")
    def _minors_are_declared_as_such(self) -> Self:
        on = bounds(self.as_of)[0]
        for person in self.people:
            if person.surely_minor(on) and person.protection.minor is not Tri.YES:
                refuse("minor-not-declared", "by birth or age this person is a minor")
        return self

    @model_validator(mode="after")
    def _grades_and_certainty_agree(self) -> Self:
        if (
            self.certainty is Certainty.CONFIRMED
            and self.evaluation is not None
            and self.evaluation.cannot_be_confirmed
        ):
            refuse("r11-not-confirmable", "information of this grade cannot be called confirmed")
        return self

    @model_validator(mode="after")
    def _an_iccs_code_is_given(self) -> Self:
        if all(offence.iccs is None for offence in self.offences):
            refuse("r13-no-iccs", "at least one offence needs an ICCS code")
        return self


def explain(error: ValidationError, *, code: str) -> SchemaError:
    """Return the first fault of `error` as a SchemaError that holds no value of the input.

    Args:
        error: From validating a model of this package.
        code: Given unless the fault has a code of its own (those that `refuse` raises).
    """
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    steps = (str(part) for part in first["loc"])
    field = ".".join(step for step in steps if step.isdigit() or step.isidentifier())
    own = "-" in first["type"]
    return SchemaError(first["type"] if own else code, first["msg"], field=field)
