"""cyber/1: incidents and online fraud, with whatever a STIX bundle or MISP event holds of them.

The original document travels byte for byte beside this where it fits (`original`); the typed
fields are an index over it. CVSS scores are not carried: a score follows from its vector.
"""

from typing import Annotated, ClassVar, Final

from pydantic import Field
from typing_extensions import override

from schemas.blocks.base import (
    MAX_FEW,
    MAX_MANY,
    Count,
    Country,
    Extension,
    Identifier,
    Line,
    Text,
)
from schemas.blocks.contact import OnlineAccount, Phone
from schemas.blocks.funds import BankAccount, CryptoWallet, Money
from schemas.blocks.location import Location
from schemas.blocks.organisation import Organisation
from schemas.blocks.person import Person
from schemas.blocks.when import Day, When
from schemas.common import Alert
from schemas.cybercodes import AttackDomain, FraudKind, IncidentClass, SourceFormat
from schemas.label import Strict
from schemas.threat import (
    ATTACKId,
    Entity,
    Indicator,
    KillChainPhase,
    Observable,
    ObservableGroup,
    Relationship,
    Sighting,
    SourceId,
    Term,
    Timestamp,
)

# Bounds of one alert. The largest bundle of the test data holds 420 objects, the largest event 396
# attributes; what fills 480 KiB of sealed content after compression is about ten times as much.
MAX_OBJECTS: Final = 4096
MAX_RELATIONSHIPS: Final = 8192

# Techniques that ATT&CK withdrew and that live on in real data, with what replaced them.
WITHDRAWN_TECHNIQUES: Final = {
    "T1009": "T1027.001",
    "T1022": "T1560",
    "T1032": "T1573",
    "T1035": "T1569.002",
    "T1043": "T1571",
    "T1045": "T1027.002",
    "T1050": "T1543.003",
    "T1060": "T1547.001",
    "T1064": "T1059",
    "T1077": "T1021.002",
    "T1079": "T1573",
    "T1084": "T1546.003",
    "T1085": "T1218.011",
    "T1086": "T1059.001",
    "T1094": "T1095",
    "T1099": "T1070.006",
    "T1107": "T1070.004",
    "T1158": "T1564.001",
    "T1193": "T1566.001",
}


class AttackTechnique(Strict):
    """A technique of MITRE ATT&CK. A withdrawn identifier is accepted and shown as such."""

    id: ATTACKId
    domain: AttackDomain = AttackDomain.ENTERPRISE
    version: Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3})?$")] | None = None
    name: Line | None = None
    tactics: Annotated[tuple[KillChainPhase, ...], Field(max_length=MAX_FEW)] = ()
    object: SourceId | None = None

    @property
    def replaced_by(self) -> str | None:
        """The technique that replaced a withdrawn one, if known."""
        return WITHDRAWN_TECHNIQUES.get(self.id)

    def doubts(self) -> tuple[str, ...]:
        """Return a code if ATT&CK has withdrawn the identifier."""
        return ("attack-technique-withdrawn",) if self.replaced_by else ()


class Vulnerability(Strict):
    """A vulnerability and how grave it is."""

    cve: Annotated[str, Field(pattern=r"^CVE-[0-9]{4}-[0-9]{4,19}$")]
    cvss: (
        Annotated[
            str,
            Field(
                max_length=256,
                pattern=r"^CVSS:(3\.[01]|4\.0)(/[A-Z][A-Za-z]{0,3}:[A-Za-z]{1,6}){8,40}$",
            ),
        ]
        | None
    ) = None
    exploited: bool | None = None
    remarks: Text | None = None


class Impact(Strict):
    """Who was hit and what it cost."""

    sectors: Annotated[tuple[Line, ...], Field(max_length=MAX_FEW)] = ()
    countries: Annotated[tuple[Country, ...], Field(max_length=250)] = ()
    victims: Count | None = None
    losses: Annotated[tuple[Money, ...], Field(max_length=MAX_FEW)] = ()
    extortion: Money | None = None


class PreservationRequest(Strict):
    """Evidence that will be deleted unless somebody asks in time."""

    provider: Line
    data_kind: Line
    request: Annotated[str, Field(pattern=r"^(preservation|mla)$")]
    deadline: Day | None = None
    reference: Identifier | None = None


class ScamSite(Strict):
    """A compound or office from which people are cheated, often by people who are trafficked."""

    location: Location
    operator: Organisation | None = None
    trafficking_alert: Identifier | None = None


class Source(Strict):
    """The record at the source: event, report or bundle, its codes as given.

    Attributes:
        id: Identifier of the bundle or event.
        extends: Identifier of the event it extends.
        threat_level: As given (`1` is high in MISP).
        analysis: As given (`2` is complete in MISP).
        distribution: As given; the label alone decides who may read this alert.
    """

    format: SourceFormat
    id: SourceId | None = None
    extends: SourceId | None = None
    organisation: Line | None = None
    owner: Line | None = None
    date: Day | None = None
    created: Timestamp | None = None
    modified: Timestamp | None = None
    published: Timestamp | None = None
    threat_level: Line | None = None
    analysis: Line | None = None
    distribution: Line | None = None
    related: Annotated[tuple[SourceId, ...], Field(max_length=MAX_MANY)] = ()
    tags: Annotated[tuple[Term, ...], Field(max_length=1024)] = ()


class CyberAlert(Alert):
    """An incident, a campaign or a fraud, with what others can look for."""

    TYPE: ClassVar[str] = "cyber"
    VERSION: ClassVar[int] = 1

    title: Line
    incident_classes: Annotated[
        tuple[IncidentClass | Extension, ...], Field(max_length=MAX_FEW)
    ] = ()
    fraud_kinds: Annotated[tuple[FraudKind | Extension, ...], Field(max_length=MAX_FEW)] = ()
    occurred: When | None = None
    source: Source | None = None
    indicators: Annotated[tuple[Indicator, ...], Field(max_length=MAX_OBJECTS)] = ()
    observables: Annotated[tuple[Observable, ...], Field(max_length=MAX_OBJECTS)] = ()
    groups: Annotated[tuple[ObservableGroup, ...], Field(max_length=MAX_OBJECTS)] = ()
    techniques: Annotated[tuple[AttackTechnique, ...], Field(max_length=1024)] = ()
    vulnerabilities: Annotated[tuple[Vulnerability, ...], Field(max_length=1024)] = ()
    entities: Annotated[tuple[Entity, ...], Field(max_length=MAX_OBJECTS)] = ()
    relationships: Annotated[tuple[Relationship, ...], Field(max_length=MAX_RELATIONSHIPS)] = ()
    sightings: Annotated[tuple[Sighting, ...], Field(max_length=MAX_OBJECTS)] = ()
    impact: Impact | None = None
    preservation: Annotated[tuple[PreservationRequest, ...], Field(max_length=MAX_FEW)] = ()
    scam_sites: Annotated[tuple[ScamSite, ...], Field(max_length=MAX_FEW)] = ()
    persons: Annotated[tuple[Person, ...], Field(max_length=MAX_MANY)] = ()
    organisations: Annotated[tuple[Organisation, ...], Field(max_length=MAX_MANY)] = ()
    phones: Annotated[tuple[Phone, ...], Field(max_length=MAX_MANY)] = ()
    accounts: Annotated[tuple[OnlineAccount, ...], Field(max_length=MAX_MANY)] = ()
    bank_accounts: Annotated[tuple[BankAccount, ...], Field(max_length=MAX_MANY)] = ()
    wallets: Annotated[tuple[CryptoWallet, ...], Field(max_length=MAX_MANY)] = ()

    @property
    @override
    def people(self) -> tuple[Person, ...]:
        return self.persons
