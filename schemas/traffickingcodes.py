"""Code lists of trafficking alerts.

Sources: Palermo Protocol article 3, IOM HTCDS 2.0 (its picklists), CTDC age bands, ILO indicators,
ISIC revision 4. HTCDS lists no forced criminality, restriction of movement or use of children
among its picklists; scam compounds and the definitions of HTCDS need them, so they stand here.
"""

from enum import StrEnum


class Act(StrEnum):
    """What was done (Palermo Protocol, article 3(a))."""

    RECRUITMENT = "recruitment"
    TRANSPORTATION = "transportation"
    TRANSFER = "transfer"
    HARBOURING = "harbouring"
    RECEIPT = "receipt"
    BUYING = "buying"
    SELLING = "selling"


class Means(StrEnum):
    """How it was done; for a child no means is needed."""

    THREAT = "threat"
    FORCE = "force"
    OTHER_COERCION = "other-coercion"
    ABDUCTION = "abduction"
    FRAUD = "fraud"
    DECEPTION = "deception"
    ABUSE_OF_POWER = "abuse-of-power"
    ABUSE_OF_VULNERABILITY = "abuse-of-vulnerability"
    PAYMENTS_TO_CONTROLLER = "payments-to-controller"
    NOT_REQUIRED_MINOR = "not-required-minor"


class Purpose(StrEnum):
    """Exploitation aimed at (HTCDS TypeOfExploitation, and forced criminality)."""

    FORCED_LABOUR = "forced-labour"
    SEXUAL_EXPLOITATION = "sexual-exploitation"
    CHILD_LABOUR = "child-labour"
    FORCED_MARRIAGE = "forced-marriage"
    SERVITUDE = "servitude"
    FORCED_MILITARY = "forced-military-by-non-state-actors"
    ORGAN_REMOVAL = "organ-removal"
    FORCED_BEGGING = "forced-begging"
    FORCED_ADOPTION = "forced-adoption"
    SURROGACY = "surrogacy"
    FORCED_CRIMINALITY = "forced-criminality"
    OTHER = "other"

    @property
    def is_of_children(self) -> bool:
        """Whether its victims are children by definition."""
        return self is Purpose.CHILD_LABOUR


class ForcedCrime(StrEnum):
    """What the victims are forced to do."""

    ONLINE_SCAM = "online-scam"
    DRUG_COURIER = "drug-courier"
    THEFT = "theft"
    BEGGING = "begging"


class ControlMethod(StrEnum):
    """How victims are controlled (HTCDS MethodsOfControl)."""

    PHYSICAL_THREATS = "physical-threats"
    THREATS_LAW_ENFORCEMENT = "threats-law-enforcement"
    THREATENS_CHILDREN_FAMILY = "threatens-children-family"
    DEBT_BONDAGE = "debt-bondage"
    FALSE_PROMISES = "false-promises"
    PHYSICAL_ABUSE = "physical-abuse"
    SEXUAL_ABUSE = "sexual-abuse"
    TAKES_EARNINGS = "takes-earnings"
    RESTRICTS_FINANCIAL_ACCESS = "restricts-financial-access"
    RESTRICTS_MEDICAL_CARE = "restricts-medical-care"
    WITHHOLDS_NECESSITIES = "withholds-necessities"
    PSYCHOLOGICAL_ABUSE = "psychological-abuse"
    PSYCHOACTIVE_SUBSTANCE = "psychoactive-substance"
    EXCESSIVE_WORKING_HOURS = "excessive-working-hours"
    WITHHOLDS_DOCUMENTS = "withholds-documents"
    RESTRICTS_MOVEMENT = "restricts-movement"
    USES_CHILDREN = "uses-children"
    OTHER = "other"


class ILOIndicator(StrEnum):
    """The eleven ILO indicators of forced labour."""

    ABUSE_OF_VULNERABILITY = "abuse-of-vulnerability"
    DECEPTION = "deception"
    RESTRICTION_OF_MOVEMENT = "restriction-of-movement"
    ISOLATION = "isolation"
    PHYSICAL_SEXUAL_VIOLENCE = "physical-sexual-violence"
    INTIMIDATION_THREATS = "intimidation-threats"
    RETENTION_OF_DOCUMENTS = "retention-of-documents"
    WITHHOLDING_OF_WAGES = "withholding-of-wages"
    DEBT_BONDAGE = "debt-bondage"
    ABUSIVE_CONDITIONS = "abusive-conditions"
    EXCESSIVE_OVERTIME = "excessive-overtime"


class Industry(StrEnum):
    """ISIC revision 4, sections A to U."""

    AGRICULTURE = "A"
    MINING = "B"
    MANUFACTURING = "C"
    ENERGY = "D"
    WATER_WASTE = "E"
    CONSTRUCTION = "F"
    TRADE = "G"
    TRANSPORT = "H"
    ACCOMMODATION_FOOD = "I"
    INFORMATION = "J"
    FINANCE = "K"
    REAL_ESTATE = "L"
    PROFESSIONAL = "M"
    ADMINISTRATIVE = "N"
    PUBLIC_ADMINISTRATION = "O"
    EDUCATION = "P"
    HEALTH = "Q"
    ARTS = "R"
    OTHER_SERVICES = "S"
    HOUSEHOLDS = "T"
    EXTRATERRITORIAL = "U"


class SexExploitation(StrEnum):
    """HTCDS TypeOfSexExploitation."""

    PROSTITUTION = "prostitution"
    PORNOGRAPHY = "pornography"
    REMOTE_INTERACTIVE_SERVICES = "remote-interactive-services"
    PRIVATE_SEXUAL_SERVICES = "private-sexual-services"


class RecruitmentMethod(StrEnum):
    """HTCDS MethodOfRecruitment."""

    PLACE_OF_BUSINESS = "at-a-place-of-business"
    EDUCATIONAL_INSTITUTION = "at-an-educational-institution"
    AT_WORK = "at-work"
    ONLINE_SOCIAL_NETWORKS = "through-online-social-networks"
    ONLINE_ADVERTISEMENT = "through-an-online-advertisement"
    TELEVISION_ADVERT = "through-a-television-advert"
    NEWSPAPER_ADVERT = "through-a-newspaper-advert"
    FAMILY = "through-family-or-family-events"
    FRIENDS = "through-friends-or-social-events"
    OTHER = "other"


class Relationship(StrEnum):
    """Relationship of recruiter and victim (HTCDS, refined by CTDC)."""

    FAMILIAL = "familial"
    INTIMATE_PARTNER = "intimate-partner"
    FRIEND = "friend"
    ACQUAINTED = "acquainted"
    UNACQUAINTED = "unacquainted"
    OTHER = "other"
    UNKNOWN = "unknown"


class TraffickingEventKind(StrEnum):
    """HTCDS Historic Trafficking Events, and how it ended."""

    RECRUITMENT = "recruitment"
    TRANSIT = "transit"
    EXPLOITATION = "exploitation"
    RESCUE = "rescue"
    ESCAPE = "escape"


class AgeBand(StrEnum):
    """CTDC age bands; the first two are children."""

    AGE_0_8 = "0-8"
    AGE_9_17 = "9-17"
    AGE_18_20 = "18-20"
    AGE_21_23 = "21-23"
    AGE_24_26 = "24-26"
    AGE_27_29 = "27-29"
    AGE_30_38 = "30-38"
    AGE_39_47 = "39-47"
    AGE_48 = "48+"
    UNKNOWN = "unknown"

    @property
    def may_be_minor(self) -> bool:
        """Whether the band is of children; unknown age counts as that, since indicators exist."""
        return self in (AgeBand.AGE_0_8, AgeBand.AGE_9_17, AgeBand.UNKNOWN)

    @property
    def is_minor(self) -> bool:
        """Whether the band is surely of children."""
        return self in (AgeBand.AGE_0_8, AgeBand.AGE_9_17)


class VictimStatus(StrEnum):
    """HTCDS TraffickingStatus."""

    POSSIBLE = "possible"
    ACTUAL = "actual"
    NOT_A_VICTIM = "not-a-victim"


class DecidedBy(StrEnum):
    """HTCDS TraffickingStatusDecisionMakingOrg."""

    POLICE = "police"
    NGO = "ngo"
    COURT_OR_PROSECUTION = "court-or-prosecution"
    NON_POLICE_GOVERNMENT = "non-police-governmental-organization"
    OTHER = "other"


class PerpetratorRole(StrEnum):
    """HTCDS RoleInProcess, those of perpetrators."""

    TRAVELLING_PARTNER = "travelling-partner"
    TRANSPORTER = "transporter"
    RECRUITER = "recruiter-or-intermediary"
    BROKER_TRAVEL_AGENT = "broker-travel-agent"
    HARBOURER = "harbourer"
    CONTROLLER = "controller"
    SMUGGLER = "smuggler"
    ABUSER = "abuser"
    KIDNAPPER = "kidnapper"
    EXPLOITER = "exploiter"
    OTHER = "other"


class Assistance(StrEnum):
    """Help for victims (HTCDS support plans, and the first days)."""

    SHELTER = "shelter"
    HEALTH = "health"
    LEGAL = "legal"
    FINANCIAL = "financial"
    EDUCATION = "education"
    LIVELIHOOD = "livelihood"
    REPATRIATION = "repatriation"
    INTERPRETATION = "interpretation"
    SOCIAL_CARE = "social-care"
    PROTECTION = "protection"


class SiteKind(StrEnum):
    """Where people are held or used."""

    COMPOUND = "compound"
    VESSEL = "vessel"
    VENUE = "venue"
    FACTORY = "factory"
    FARM = "farm"
    DWELLING = "dwelling"
    CONSTRUCTION_SITE = "construction-site"
