"""drugs/1: seizures, laboratories, shipments, diversions, prices. Bases: UNODC IDS, INCB PICS.

Left out: thresholds of significance, which are configuration, and any conversion of units other
than one that states its factor. The place of a seizure is the leg of the route with that role.
"""

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from schemas.blocks.base import (
    MAX_FEW,
    MAX_MANY,
    Amount,
    Block,
    Country,
    Extension,
    Identifier,
    Line,
    Percent,
    ProperName,
    Text,
    refuse,
)
from schemas.blocks.contact import OnlineAccount, Phone
from schemas.blocks.conveyance import Aircraft, Container, Parcel, Vehicle, Vessel
from schemas.blocks.funds import BankAccount, CryptoWallet, Money
from schemas.blocks.location import Location
from schemas.blocks.organisation import Organisation
from schemas.blocks.person import Person
from schemas.blocks.when import When
from schemas.checkdigits import check_cas
from schemas.common import Alert, Certainty
from schemas.drugcodes import (
    CAS_OF,
    Concealment,
    Control,
    Conveyance,
    EventKind,
    Form,
    LegRole,
    Measured,
    PurityBasis,
    Strength,
    SubstanceClass,
    SubstanceCode,
    TestMethod,
    Unit,
    Weighing,
)
from schemas.label import Strict

CASNumber = Annotated[str, Field(max_length=16), AfterValidator(check_cas)]


class Equivalent(Strict):
    """Kilograms derived from another unit, with the factor and whose factor it is."""

    kilograms: Amount
    factor: Amount
    factor_source: Line


class Quantity(Strict):
    """A quantity in the unit in which it was reported."""

    value: Amount
    unit: Unit | Extension
    weighing: Weighing = Weighing.UNKNOWN
    measured: Measured = Measured.UNKNOWN
    equivalent: Equivalent | None = None


class Purity(Strict):
    """Share of the substance, in percent."""

    percent: Percent
    basis: PurityBasis = PurityBasis.UNKNOWN


class Identification(Strict):
    """How the substance was identified; a presumptive test confirms nothing."""

    strength: Strength
    method: TestMethod | Extension | None = None
    laboratory_ref: Identifier | None = None


class Schedule(Strict):
    """Control of the substance in one jurisdiction; countries differ on kratom and cannabis."""

    control: Control
    country: Country | None = None
    law: Line | None = None

    @model_validator(mode="after")
    def _national_control_names_its_country(self) -> Self:
        if self.control is Control.NATIONAL and self.country is None:
            refuse("schedule-without-country", "national control needs its country")
        return self


class Adulterant(Strict):
    """What the substance is mixed with."""

    code: SubstanceCode | Extension
    cas: CASNumber | None = None
    percent: Percent | None = None


class Substance(Block):
    """One substance of the event, or a precursor with its trade data."""

    code: SubstanceCode | Extension
    as_given: ProperName | None = None
    cas: CASNumber | None = None
    inn: Line | None = None
    street_names: Annotated[tuple[ProperName, ...], Field(max_length=MAX_FEW)] = ()
    group: SubstanceClass | None = None
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=MAX_FEW)] = ()
    form: Form | Extension | None = None
    quantity: Quantity | None = None
    purity: Purity | None = None
    identification: Identification | None = None
    marks: Annotated[tuple[ProperName, ...], Field(max_length=MAX_FEW)] = ()
    adulterants: Annotated[tuple[Adulterant, ...], Field(max_length=MAX_FEW)] = ()
    hs_code: Annotated[str, Field(pattern=r"^[0-9]{4}(\.?[0-9]{2}){0,3}$")] | None = None
    pre_export_notification: Identifier | None = None
    price: Money | None = None
    price_per: Unit | Extension | None = None
    remarks: Text | None = None

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code if the CAS number is not the one known for the substance."""
        known = CAS_OF.get(self.code) if isinstance(self.code, SubstanceCode) else None
        return ("cas-of-another-substance",) if self.cas and known and self.cas != known else ()


class Leg(Strict):
    """A place on the route."""

    seq: Annotated[int, Field(ge=1, le=64)]
    role: LegRole
    location: Location
    certainty: Certainty = Certainty.REPORTED
    when: When | None = None


class CrossReferences(Strict):
    """Numbers under which others know the same event."""

    pics: Identifier | None = None
    ionics: Identifier | None = None
    exhibit: Identifier | None = None
    profile: Identifier | None = None
    source_row: Identifier | None = None


class DrugsAlert(Alert):
    """A drug event: what, where, when, how carried and hidden, by whom."""

    TYPE: ClassVar[str] = "drugs"
    VERSION: ClassVar[int] = 1

    event_kind: EventKind
    when: When
    substances: Annotated[tuple[Substance, ...], Field(min_length=1, max_length=64)]
    route: Annotated[tuple[Leg, ...], Field(max_length=64)] = ()
    concealments: Annotated[tuple[Concealment | Extension, ...], Field(max_length=MAX_FEW)] = ()
    conveyances: Annotated[tuple[Conveyance | Extension, ...], Field(max_length=MAX_FEW)] = ()
    cross_references: CrossReferences | None = None
    persons: Annotated[tuple[Person, ...], Field(max_length=MAX_MANY)] = ()
    organisations: Annotated[tuple[Organisation, ...], Field(max_length=MAX_MANY)] = ()
    vehicles: Annotated[tuple[Vehicle, ...], Field(max_length=MAX_MANY)] = ()
    vessels: Annotated[tuple[Vessel, ...], Field(max_length=MAX_MANY)] = ()
    containers: Annotated[tuple[Container, ...], Field(max_length=MAX_MANY)] = ()
    aircraft: Annotated[tuple[Aircraft, ...], Field(max_length=MAX_MANY)] = ()
    parcels: Annotated[tuple[Parcel, ...], Field(max_length=MAX_MANY)] = ()
    phones: Annotated[tuple[Phone, ...], Field(max_length=MAX_MANY)] = ()
    accounts: Annotated[tuple[OnlineAccount, ...], Field(max_length=MAX_MANY)] = ()
    bank_accounts: Annotated[tuple[BankAccount, ...], Field(max_length=MAX_MANY)] = ()
    wallets: Annotated[tuple[CryptoWallet, ...], Field(max_length=MAX_MANY)] = ()
    money: Annotated[tuple[Money, ...], Field(max_length=MAX_MANY)] = ()

    @property
    @override
    def people(self) -> tuple[Person, ...]:
        return self.persons

    @model_validator(mode="after")
    def _the_route_is_in_order(self) -> Self:
        if [leg.seq for leg in self.route] != list(range(1, len(self.route) + 1)):
            refuse("route-order", "the legs of a route are numbered 1, 2, 3")
        return self

    @model_validator(mode="after")
    def _a_seizure_has_one_place(self) -> Self:
        places = sum(leg.role is LegRole.SEIZURE for leg in self.route)
        if places != 1 if self.event_kind is EventKind.SEIZED else places > 1:
            refuse("seizure-leg", "a seizure has exactly one leg with the role seizure")
        return self

    @model_validator(mode="after")
    def _a_presumptive_test_confirms_nothing(self) -> Self:
        tests = [item.identification.strength for item in self.substances if item.identification]
        if self.certainty is Certainty.CONFIRMED and tests and Strength.CONFIRMED not in tests:
            refuse("presumptive-only", "a presumptive test alone cannot confirm an alert")
        return self

    @model_validator(mode="after")
    def _a_controlled_delivery_says_so(self) -> Self:
        if self.event_kind is EventKind.CONTROLLED_DELIVERY and not self.controlled_delivery:
            refuse("controlled-delivery-unmarked", "controlled_delivery must be true")
        return self
