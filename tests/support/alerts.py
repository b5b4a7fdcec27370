"""Synthetic alerts for any test that needs good content. Every name and number is made up.

Each function takes keyword arguments that replace fields, validated anew.
"""

from hashlib import sha256
from typing import Any

from schemas.blocks.base import ProperName, Text
from schemas.blocks.contact import OnlineAccount, Phone, Service
from schemas.blocks.conveyance import Container, Vessel, VesselType
from schemas.blocks.funds import Chain, CryptoWallet, Money
from schemas.blocks.identity import (
    Birth,
    DocumentStatus,
    DocumentType,
    Name,
    NameKind,
    NameOrder,
    NameParts,
    TravelDocument,
)
from schemas.blocks.location import Location, LocationKind, SiteClass, Zone
from schemas.blocks.location import Site as PlaceSite
from schemas.blocks.offence import Offence
from schemas.blocks.person import Consent, Person, PersonRole, Protection, Sex, Tri
from schemas.blocks.when import Calendar, When
from schemas.common import (
    Alert,
    Certainty,
    Contact,
    Evaluation,
    Instrument,
    LegalBasis,
    Original,
    Scheme,
)
from schemas.cyber import AttackTechnique, CyberAlert
from schemas.cybercodes import (
    EntityType,
    FraudKind,
    IncidentClass,
    IndicatorType,
    ObservableType,
    PatternType,
)
from schemas.drugcodes import (
    Concealment,
    Conveyance,
    EventKind,
    Form,
    LegRole,
    Measured,
    Strength,
    SubstanceClass,
    SubstanceCode,
    TestMethod,
    Unit,
    Weighing,
)
from schemas.drugs import DrugsAlert, Identification, Leg, Purity, Quantity, Substance
from schemas.threat import Entity, Indicator, Observable, Relationship
from schemas.trafficking import (
    Recruitment,
    Referral,
    Site,
    Suspect,
    TraffickingAlert,
    Victim,
    VictimCount,
)
from schemas.traffickingcodes import (
    Act,
    AgeBand,
    Assistance,
    ControlMethod,
    DecidedBy,
    ForcedCrime,
    ILOIndicator,
    Means,
    PerpetratorRole,
    Purpose,
    RecruitmentMethod,
    SiteKind,
    VictimStatus,
)

ORIGINAL = b"Fictional report of the exercise 'Paper Lantern'. No such case exists.\n"
ALERTS = ("cyber_alert", "drugs_alert", "trafficking_alert", "trafficking_alert_with_minors")


def header(**changes: object) -> dict[str, Any]:
    """Fields that every alert shares."""
    return {
        "certainty": Certainty.SUSPECTED,
        "as_of": "2026-11-20",
        "national_ref": "EX/2026/000417",
        "unit": "Fictional Crime Division, Desk 4",
        "contact": Contact(
            function="Duty officer, operations room",
            phones=("+6565550100",),
            emails=("duty@police.example",),
            hours="24/7",
        ),
        "offences": (Offence(iccs="iccs:0903"),),
        "legal_basis": (LegalBasis(instrument=Instrument.ASEANAPOL),),
        "evaluation": Evaluation(scheme=Scheme.FOUR_BY_FOUR, source="B", information="2"),
        "language": "en",
        **changes,
    }


def original_of(raw: bytes = ORIGINAL) -> Original:
    """The reference to a document that travels with the alert or stays behind."""
    return Original(
        sha256=sha256(raw).hexdigest(),
        media_type="text/plain",
        bytes=len(raw),
        name="paper-lantern.txt",
    )


def cyber_alert(**changes: object) -> CyberAlert:
    """A fake investment platform with its domain, wallet and technique."""
    fields: dict[str, Any] = {
        **header(),
        "title": "Fake investment platform Paper Lantern",
        "incident_classes": (IncidentClass.PHISHING, IncidentClass.MASQUERADE),
        "fraud_kinds": (FraudKind.INVESTMENT,),
        "occurred": When(edtf="2026-11"),
        "texts": (Text(value="Victims are led from a chat to a false trading site.", lang="en"),),
        "indicators": (
            Indicator(
                id="indicator--0a1b2c3d-0000-4000-8000-000000000001",
                name="False trading site",
                pattern="[domain-name:value = 'paper-lantern.example']",
                pattern_type=PatternType.STIX,
                indicator_types=(IndicatorType.MALICIOUS_ACTIVITY,),
                valid_from="2026-11-02T00:00:00Z",
                confidence=70,
                to_ids=True,
            ),
        ),
        "observables": (
            Observable(type=ObservableType.DOMAIN, value="paper-lantern.example", to_ids=True),
            Observable(type=ObservableType.IPV4, value="192.0.2.44"),
            Observable(type=ObservableType.SHA256, value=sha256(b"fictional").hexdigest()),
        ),
        "techniques": (AttackTechnique(id="T1566.002", name="Spearphishing Link"),),
        "entities": (
            Entity(
                id="campaign--0a1b2c3d-0000-4000-8000-000000000002",
                type=EntityType.CAMPAIGN,
                name="Paper Lantern",
                first_seen="2026-10-30T00:00:00Z",
            ),
        ),
        "relationships": (
            Relationship(
                type="indicates",
                source="indicator--0a1b2c3d-0000-4000-8000-000000000001",
                target="campaign--0a1b2c3d-0000-4000-8000-000000000002",
            ),
        ),
        "wallets": (
            CryptoWallet(chain=Chain.BTC, address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ),
        "accounts": (OnlineAccount(service=Service.TELEGRAM, handle="@paper_lantern_help"),),
    }
    return CyberAlert(**{**fields, **changes})


def drugs_alert(**changes: object) -> DrugsAlert:
    """Tablets hidden in machinery, in a container, on a fishing port."""
    fields: dict[str, Any] = {
        **header(
            offences=(Offence(iccs="iccs:0601"),),
            legal_basis=(LegalBasis(instrument=Instrument.UN_1988),),
        ),
        "event_kind": EventKind.SEIZED,
        "when": When(edtf="2026-11-18", time="03:40", offset="+07:00"),
        "substances": (
            Substance(
                code=SubstanceCode.METHAMPHETAMINE,
                cas="537-46-2",
                group=SubstanceClass.AMPHETAMINE_TYPE,
                street_names=(ProperName(value="ยาบ้า", lang="th", script="Thai"),),
                form=Form.PILL_TABLET,
                quantity=Quantity(
                    value="412000",
                    unit=Unit.TABLET,
                    weighing=Weighing.GROSS,
                    measured=Measured.ESTIMATED,
                ),
                purity=Purity(percent="21.5"),
                identification=Identification(
                    strength=Strength.PRESUMPTIVE, method=TestMethod.COLOUR_TEST
                ),
            ),
        ),
        "route": (
            Leg(
                seq=1,
                role=LegRole.DEPARTURE,
                location=Location(kind=LocationKind.DEPARTURE, country="TH", unlocode="THBKK"),
                certainty=Certainty.SUSPECTED,
            ),
            Leg(
                seq=2,
                role=LegRole.SEIZURE,
                location=Location(
                    kind=LocationKind.SEIZURE,
                    country="MY",
                    subdivision="MY-07",
                    zone=Zone.URBAN,
                    site=PlaceSite(code=SiteClass.SEAPORT),
                    latitude="5.4164",
                    longitude="100.3450",
                ),
                certainty=Certainty.CONFIRMED,
            ),
        ),
        "concealments": (Concealment.MACHINERY,),
        "conveyances": (Conveyance.SEA_CONTAINER,),
        "vessels": (
            Vessel(
                imo="9074729",
                mmsi="567000001",
                flag="TH",
                names=(ProperName(value="Fictional Lantern 9"),),
                type=VesselType.CARGO,
            ),
        ),
        "containers": (Container(number="CSQU3054383"),),
        "persons": (suspect(),),
        "money": (Money(amount="84500.50", currency="MYR"),),
    }
    return DrugsAlert(**{**fields, **changes})


def suspect(**changes: object) -> Person:
    """A suspect known by a mononym in two scripts and a year of birth."""
    fields: dict[str, Any] = {
        "role": PersonRole.SUSPECT,
        "names": (
            Name(full="สมมุติ ใจบุญ", script="Thai", lang="th", order=NameOrder.GIVEN_FIRST),
            Name(
                full="Sommut Jaiboon",
                script="Latn",
                kind=NameKind.TRANSLITERATION,
                parts=NameParts(surname="Jaiboon", given="Sommut"),
            ),
        ),
        "sex": Sex.MALE,
        "birth": Birth(edtf="1988", calendar_as_given=Calendar.BUDDHIST, estimated=True),
        "nationalities": ("THA",),
        "documents": (
            TravelDocument(
                type=DocumentType.PASSPORT,
                number="L898902C3",
                issuing_state="THA",
                status=DocumentStatus.FORGED,
            ),
        ),
        "phones": (Phone(number="+66812345678"),),
        "protection": Protection(minor=Tri.NO),
    }
    return Person(**{**fields, **changes})


def adult_victim(**changes: object) -> Person:
    """An adult victim who agreed to be named."""
    fields: dict[str, Any] = {
        "role": PersonRole.VICTIM,
        "names": (Name(full="Melati", script="Latn", order=NameOrder.MONONYM),),
        "sex": Sex.FEMALE,
        "birth": Birth(edtf="1999-04"),
        "nationalities": ("IDN",),
        "languages": ("id", "jv"),
        "protection": Protection(
            minor=Tri.NO, consent=Consent.GIVEN, need="Her family asked for her return"
        ),
    }
    return Person(**{**fields, **changes})


def minor_victim(**changes: object) -> Person:
    """A child: no name, no place, no picture."""
    fields: dict[str, Any] = {
        "role": PersonRole.POSSIBLE_VICTIM,
        "sex": Sex.FEMALE,
        "birth": Birth(edtf="2011", estimated=True),
        "nationalities": ("MMR",),
        "protection": Protection(
            minor=Tri.YES, need="A place in a children's shelter is asked for"
        ),
    }
    return Person(**{**fields, **changes})


def trafficking_alert(**changes: object) -> TraffickingAlert:
    """Adults held in a scam compound; without minors."""
    fields: dict[str, Any] = {
        **header(
            offences=(Offence(iccs="iccs:02042"),),
            legal_basis=(LegalBasis(instrument=Instrument.ASEAN_ACTIP_2015),),
        ),
        "acts": (Act.RECRUITMENT, Act.TRANSPORTATION, Act.HARBOURING),
        "means": (Means.DECEPTION, Means.ABUSE_OF_VULNERABILITY),
        "purposes": (Purpose.FORCED_CRIMINALITY,),
        "forced_crimes": (ForcedCrime.ONLINE_SCAM,),
        "control_methods": (ControlMethod.WITHHOLDS_DOCUMENTS, ControlMethod.DEBT_BONDAGE),
        "ilo_indicators": (ILOIndicator.RESTRICTION_OF_MOVEMENT, ILOIndicator.DECEPTION),
        "recruitment": Recruitment(
            methods=(RecruitmentMethod.ONLINE_ADVERTISEMENT,),
            platforms=(Service.TELEGRAM,),
            job_offered="Customer service, computer game company",
            wage_offered=Money(amount="1200", currency="USD"),
        ),
        "minors_among_victims": Tri.NO,
        "victim_counts": (
            VictimCount(
                count=14,
                sex=Sex.FEMALE,
                age_band=AgeBand.AGE_21_23,
                nationality="IDN",
                status=VictimStatus.ACTUAL,
                decided_by=DecidedBy.POLICE,
            ),
            VictimCount(count=9, sex=Sex.MALE, age_band=AgeBand.AGE_24_26, nationality="VNM"),
        ),
        "victims": (
            Victim(person=adult_victim(), status=VictimStatus.ACTUAL, decided_by=DecidedBy.POLICE),
        ),
        "suspects": (Suspect(person=suspect(), roles=(PerpetratorRole.RECRUITER,)),),
        "immediate_danger": False,
        "referral": Referral(asked=True, assistance=(Assistance.SHELTER, Assistance.REPATRIATION)),
        "sites": (
            Site(
                kind=SiteKind.COMPOUND,
                location=Location(
                    kind=LocationKind.EXPLOITATION,
                    country="KH",
                    site=PlaceSite(code=SiteClass.COMPOUND),
                ),
                people_estimated=60,
            ),
        ),
    }
    return TraffickingAlert(**{**fields, **changes})


def trafficking_alert_with_minors(**changes: object) -> TraffickingAlert:
    """Children, counted and one recorded, in immediate danger."""
    fields: dict[str, Any] = {
        "purposes": (Purpose.SEXUAL_EXPLOITATION,),
        "forced_crimes": (),
        "means": (),
        "minors_among_victims": Tri.YES,
        "victim_counts": (
            VictimCount(count=3, sex=Sex.FEMALE, age_band=AgeBand.AGE_9_17, nationality="MMR"),
        ),
        "victims": (Victim(person=minor_victim()),),
        "immediate_danger": True,
    }
    return trafficking_alert(**{**fields, **changes})


def every_alert() -> tuple[Alert, ...]:
    """One of each kind, with and without minors."""
    return cyber_alert(), drugs_alert(), trafficking_alert(), trafficking_alert_with_minors()
