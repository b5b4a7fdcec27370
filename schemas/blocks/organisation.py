"""Companies, agencies, shops: whoever is not a person."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from stdnum.sg import uen
from stdnum.vn import mst

from schemas.blocks.base import MAX_FEW, Block, Country, Extension, Identifier, Line, Text, refuse
from schemas.blocks.contact import OnlineAccount, Phone
from schemas.blocks.identity import Name
from schemas.blocks.location import Location
from schemas.checkdigits import check_lei
from schemas.label import Strict


class OrganisationKind(StrEnum):
    """Kinds of organisations (HTCDS list, extended)."""

    NGO = "ngo"
    LAW_ENFORCEMENT = "law-enforcement"
    HEALTH_SERVICE = "health-service"
    CENTRAL_GOVERNMENT = "central-government"
    LOCAL_GOVERNMENT = "local-government"
    IMMIGRATION_SERVICE = "immigration-service"
    LEGAL_SERVICE = "legal-service"
    COMPANY = "company"
    SCHOOL = "school"
    BANK = "bank"
    RECRUITMENT_AGENCY = "recruitment-agency"
    LOGISTICS = "logistics"
    ONLINE_PLATFORM = "online-platform"
    CRIMINAL_GROUP = "criminal-group"
    UNKNOWN = "unknown"


class RegistrationScheme(StrEnum):
    """National registers with a check in software; any other is an extension code."""

    SG_UEN = "sg-uen"
    VN_MST = "vn-mst"


class Registration(Strict):
    """A number in a register of companies."""

    scheme: RegistrationScheme | Extension
    number: Identifier

    @model_validator(mode="after")
    def _check_digit(self) -> Self:
        check = {RegistrationScheme.SG_UEN: uen, RegistrationScheme.VN_MST: mst}.get(self.scheme)  # type: ignore[call-overload]
        if check is not None and not check.is_valid(self.number):
            refuse("registration-number", "the registration number fails its check digit")
        return self


class Organisation(Block):
    """An organisation; a name in one script is enough."""

    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_FEW)]
    kind: OrganisationKind | Extension = OrganisationKind.UNKNOWN
    role: Line | None = None
    country: Country | None = None
    registration: Registration | None = None
    lei: Annotated[str, Field(max_length=24), AfterValidator(check_lei)] | None = None
    phones: Annotated[tuple[Phone, ...], Field(max_length=MAX_FEW)] = ()
    accounts: Annotated[tuple[OnlineAccount, ...], Field(max_length=MAX_FEW)] = ()
    locations: Annotated[tuple[Location, ...], Field(max_length=MAX_FEW)] = ()
    remarks: Text | None = None
