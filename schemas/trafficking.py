"""trafficking/1: trafficking in persons. Bases: Palermo Protocol, ACTIP, IOM HTCDS 2.0, CTDC, ILO.

Victims are counted before they are named: a record of one victim must say why a count would not
do, and what protects it is checked in `schemas.blocks.person` for every type of alert.

Left out of HTCDS: its deprecated vulnerability fields, marital status, education, number of
children and support plans, which help a case worker and not the police of another state.
"""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from typing_extensions import override

from schemas.blocks.base import (
    MAX_FEW,
    MAX_MANY,
    Count,
    Extension,
    Identifier,
    Line,
    Nationality,
    Text,
    refuse,
)
from schemas.blocks.contact import OnlineAccount, Phone, PhoneNumber, Service
from schemas.blocks.conveyance import Vehicle, Vessel
from schemas.blocks.funds import BankAccount, CryptoWallet, Money
from schemas.blocks.location import Location
from schemas.blocks.organisation import Organisation
from schemas.blocks.person import ADULT_AGE, Person, Sex, Tri
from schemas.blocks.when import When
from schemas.common import Alert, Certainty
from schemas.label import Strict
from schemas.traffickingcodes import (
    Act,
    AgeBand,
    Assistance,
    ControlMethod,
    DecidedBy,
    ForcedCrime,
    ILOIndicator,
    Industry,
    Means,
    PerpetratorRole,
    Purpose,
    RecruitmentMethod,
    Relationship,
    SexExploitation,
    SiteKind,
    TraffickingEventKind,
    VictimStatus,
)


class VictimCount(Strict):
    """How many victims of one sex, age band and nationality."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]
    sex: Sex = Sex.UNKNOWN
    age_band: AgeBand = AgeBand.UNKNOWN
    nationality: Nationality | None = None
    status: VictimStatus = VictimStatus.POSSIBLE
    decided_by: DecidedBy | None = None

    @model_validator(mode="after")
    def _somebody_decided(self) -> Self:
        if self.status is not VictimStatus.POSSIBLE and self.decided_by is None:
            refuse("undecided-status", "actual or not a victim: say who decided")
        return self


class Victim(Strict):
    """A record of one victim: the protected person, and what was done to them."""

    person: Person
    status: VictimStatus = VictimStatus.POSSIBLE
    decided_by: DecidedBy | None = None
    age_when_trafficked: Annotated[int, Field(ge=0, le=130)] | None = None
    relationship: Relationship | None = None

    @property
    def was_child(self) -> bool:
        """Whether the victim was a child when trafficked, or is one now: no means is needed."""
        then = self.age_when_trafficked
        return self.person.protection.minor is Tri.YES or (then is not None and then < ADULT_AGE)

    @model_validator(mode="after")
    def _the_person_is_a_victim(self) -> Self:
        if not self.person.role.is_victim:
            refuse("victim-role", "a victim's record has the role victim or possible-victim")
        if self.status is VictimStatus.NOT_A_VICTIM:
            refuse("victim-status", "who is not a victim has no victim's record")
        if self.status is VictimStatus.ACTUAL and self.decided_by is None:
            refuse("undecided-status", "an actual victim: say who decided")
        return self


class Suspect(Strict):
    """A person suspected, and their roles."""

    person: Person
    roles: Annotated[tuple[PerpetratorRole | Extension, ...], Field(max_length=MAX_FEW)] = ()

    @model_validator(mode="after")
    def _a_victim_is_no_suspect(self) -> Self:
        if self.person.role.is_victim:
            refuse("victim-as-suspect", "a person in a victim's role is not listed as a suspect")
        return self


class Recruitment(Strict):
    """How people were recruited and what they were promised."""

    methods: Annotated[tuple[RecruitmentMethod | Extension, ...], Field(max_length=MAX_FEW)] = ()
    platforms: Annotated[tuple[Service | Extension, ...], Field(max_length=MAX_FEW)] = ()
    relationship: Relationship | None = None
    agency: Organisation | None = None
    job_offered: Line | None = None
    wage_offered: Money | None = None
    fee: Money | None = None
    debt: Money | None = None


class TraffickingEvent(Strict):
    """A step of what happened."""

    kind: TraffickingEventKind
    when: When | None = None
    location: Location | None = None
    description: Text | None = None


class Referral(Strict):
    """Assistance for the victims, and the contact of the national referral mechanism."""

    asked: bool
    organisation: Line | None = None
    contact_function: Line | None = None
    contact_phone: PhoneNumber | None = None
    assistance: Annotated[tuple[Assistance | Extension, ...], Field(max_length=MAX_FEW)] = ()


class Site(Strict):
    """A place of exploitation; of a scam site, the cyber alert about it."""

    kind: SiteKind | Extension
    location: Location | None = None
    vessel: Vessel | None = None
    operator: Organisation | None = None
    people_estimated: Count | None = None
    cyber_alert: Identifier | None = None


class TraffickingAlert(Alert):
    """Trafficking in persons: acts, means, purposes, victims counted, suspects, sites.

    Phones, accounts and wallets at this level are those of suspects and sites, never of victims.
    """

    TYPE: ClassVar[str] = "trafficking"
    VERSION: ClassVar[int] = 1

    acts: Annotated[tuple[Act | Extension, ...], Field(max_length=MAX_FEW)] = ()
    means: Annotated[tuple[Means, ...], Field(max_length=MAX_FEW)] = ()
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=MAX_FEW)] = ()
    forced_crimes: Annotated[tuple[ForcedCrime | Extension, ...], Field(max_length=MAX_FEW)] = ()
    control_methods: Annotated[tuple[ControlMethod, ...], Field(max_length=MAX_FEW)] = ()
    ilo_indicators: Annotated[tuple[ILOIndicator, ...], Field(max_length=MAX_FEW)] = ()
    industries: Annotated[tuple[Industry, ...], Field(max_length=21)] = ()
    sex_exploitation: Annotated[tuple[SexExploitation, ...], Field(max_length=4)] = ()
    exploitation_platforms: Annotated[
        tuple[Service | Extension, ...], Field(max_length=MAX_FEW)
    ] = ()
    recruitment: Recruitment | None = None
    events: Annotated[tuple[TraffickingEvent, ...], Field(max_length=MAX_FEW)] = ()
    minors_among_victims: Tri
    victim_counts: Annotated[tuple[VictimCount, ...], Field(max_length=1024)] = ()
    victims: Annotated[tuple[Victim, ...], Field(max_length=64)] = ()
    suspects: Annotated[tuple[Suspect, ...], Field(max_length=MAX_MANY)] = ()
    organisations: Annotated[tuple[Organisation, ...], Field(max_length=MAX_MANY)] = ()
    immediate_danger: bool
    referral: Referral | None = None
    sites: Annotated[tuple[Site, ...], Field(max_length=MAX_FEW)] = ()
    vehicles: Annotated[tuple[Vehicle, ...], Field(max_length=MAX_MANY)] = ()
    vessels: Annotated[tuple[Vessel, ...], Field(max_length=MAX_MANY)] = ()
    phones: Annotated[tuple[Phone, ...], Field(max_length=MAX_MANY)] = ()
    accounts: Annotated[tuple[OnlineAccount, ...], Field(max_length=MAX_MANY)] = ()
    bank_accounts: Annotated[tuple[BankAccount, ...], Field(max_length=MAX_MANY)] = ()
    wallets: Annotated[tuple[CryptoWallet, ...], Field(max_length=MAX_MANY)] = ()

    @property
    @override
    def people(self) -> tuple[Person, ...]:
        victims = tuple(victim.person for victim in self.victims)
        return victims + tuple(suspect.person for suspect in self.suspects)

    @property
    @override
    def concerns_victims(self) -> bool:
        return True

    @property
    @override
    def concerns_minors(self) -> bool:
        if self.minors_among_victims is Tri.UNKNOWN:  # unknown age and indicators: as minors
            return self._has_indicators
        return self.minors_among_victims is Tri.YES

    @property
    def _has_indicators(self) -> bool:
        return bool(self.control_methods or self.ilo_indicators)

    @property
    def _states_minors(self) -> bool:
        return (
            Purpose.CHILD_LABOUR in self.purposes
            or any(item.age_band.is_minor for item in self.victim_counts)
            or any(victim.person.protection.minor is Tri.YES for victim in self.victims)
        )

    @property
    def _states_adults(self) -> bool:
        return any(not item.age_band.is_minor for item in self.victim_counts) or any(
            not victim.was_child for victim in self.victims
        )

    @model_validator(mode="after")
    def _minors_are_declared(self) -> Self:
        if self._states_minors and self.minors_among_victims is not Tri.YES:
            refuse("minors-not-declared", "minors are stated: minors_among_victims must be yes")
        return self

    @model_validator(mode="after")
    def _suspected_needs_an_indicator(self) -> Self:
        if self.certainty is Certainty.SUSPECTED and not self._has_indicators:
            refuse("suspected-without-indicator", "suspected needs an indicator or control method")
        return self

    @model_validator(mode="after")
    def _confirmed_needs_act_means_and_purpose(self) -> Self:
        if Means.NOT_REQUIRED_MINOR in self.means and not self._only_children:
            refuse(
                "means-not-required", "means are not required only where every victim is a child"
            )
        if self.certainty is not Certainty.CONFIRMED:
            return self
        if not self.acts or not self.purposes or not (self.means or self._only_children):
            refuse("confirmed-without-elements", "confirmed needs an act, a means and a purpose")
        return self

    @property
    def _only_children(self) -> bool:
        return self.minors_among_victims is Tri.YES and not self._states_adults

    @model_validator(mode="after")
    def _forced_crimes_belong_to_forced_criminality(self) -> Self:
        if self.forced_crimes and Purpose.FORCED_CRIMINALITY not in self.purposes:
            refuse("forced-crime-without-purpose", "forced crimes need purpose forced-criminality")
        return self
