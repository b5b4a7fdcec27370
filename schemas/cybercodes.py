"""Code lists of cyber alerts. Sources: RSIT v1003, STIX 2.1 vocabularies, MITRE ATT&CK."""

from enum import StrEnum


class IncidentClass(StrEnum):
    """Reference Security Incident Taxonomy, `class/type`."""

    SPAM = "abusive-content/spam"
    HARMFUL_SPEECH = "abusive-content/harmful-speech"
    VIOLENCE = "abusive-content/violence"
    INFECTED_SYSTEM = "malicious-code/infected-system"
    C2_SERVER = "malicious-code/c2-server"
    MALWARE_DISTRIBUTION = "malicious-code/malware-distribution"
    MALWARE_CONFIGURATION = "malicious-code/malware-configuration"
    SCANNER = "information-gathering/scanner"
    SNIFFING = "information-gathering/sniffing"
    SOCIAL_ENGINEERING = "information-gathering/social-engineering"
    IDS_ALERT = "intrusion-attempts/ids-alert"
    BRUTE_FORCE = "intrusion-attempts/brute-force"
    EXPLOIT = "intrusion-attempts/exploit"
    PRIVILEGED_ACCOUNT_COMPROMISE = "intrusions/privileged-account-compromise"
    UNPRIVILEGED_ACCOUNT_COMPROMISE = "intrusions/unprivileged-account-compromise"
    APPLICATION_COMPROMISE = "intrusions/application-compromise"
    SYSTEM_COMPROMISE = "intrusions/system-compromise"
    BURGLARY = "intrusions/burglary"
    DOS = "availability/dos"
    DDOS = "availability/ddos"
    MISCONFIGURATION = "availability/misconfiguration"
    SABOTAGE = "availability/sabotage"
    OUTAGE = "availability/outage"
    UNAUTHORISED_ACCESS = "information-content-security/unauthorised-information-access"
    UNAUTHORISED_CHANGE = "information-content-security/unauthorised-information-modification"
    DATA_LOSS = "information-content-security/data-loss"
    DATA_LEAK = "information-content-security/data-leak"
    UNAUTHORISED_USE = "fraud/unauthorised-use-of-resources"
    COPYRIGHT = "fraud/copyright"
    MASQUERADE = "fraud/masquerade"
    PHISHING = "fraud/phishing"
    WEAK_CRYPTO = "vulnerable/weak-crypto"
    DDOS_AMPLIFIER = "vulnerable/ddos-amplifier"
    UNWANTED_ACCESSIBLE = "vulnerable/potentially-unwanted-accessible"
    INFORMATION_DISCLOSURE = "vulnerable/information-disclosure"
    VULNERABLE_SYSTEM = "vulnerable/vulnerable-system"
    OTHER = "other/other"
    UNDETERMINED = "other/undetermined"
    TEST = "test/test"


class FraudKind(StrEnum):
    """Kinds of online fraud, which RSIT is too coarse for."""

    INVESTMENT = "investment"
    ROMANCE = "romance"
    JOB = "job"
    IMPERSONATION_OFFICIAL = "impersonation-official"
    BUSINESS_EMAIL_COMPROMISE = "business-email-compromise"
    LOAN_APP = "loan-app"
    E_COMMERCE = "e-commerce"
    SEXTORTION = "sextortion"
    ACCOUNT_MULE = "account-mule"
    SIM_SWAP = "sim-swap"
    PHISHING_KIT = "phishing-kit"
    ILLEGAL_GAMBLING = "illegal-gambling"
    DEEPFAKE = "deepfake"


class PatternType(StrEnum):
    """Languages of detection patterns. All are untrusted input to their parsers."""

    STIX = "stix"
    SIGMA = "sigma"
    YARA = "yara"
    SNORT = "snort"
    SURICATA = "suricata"
    PCRE = "pcre"


class IndicatorType(StrEnum):
    """STIX 2.1 indicator-type-ov."""

    ANOMALOUS_ACTIVITY = "anomalous-activity"
    ANONYMIZATION = "anonymization"
    ATTRIBUTION = "attribution"
    BENIGN = "benign"
    COMPROMISED = "compromised"
    MALICIOUS_ACTIVITY = "malicious-activity"
    UNKNOWN = "unknown"


class EntityType(StrEnum):
    """Kinds of objects that indicators and relationships refer to (STIX domain objects)."""

    ATTACK_PATTERN = "attack-pattern"
    CAMPAIGN = "campaign"
    COURSE_OF_ACTION = "course-of-action"
    GROUPING = "grouping"
    IDENTITY = "identity"
    INCIDENT = "incident"
    INFRASTRUCTURE = "infrastructure"
    INTRUSION_SET = "intrusion-set"
    LOCATION = "location"
    MALWARE = "malware"
    MALWARE_ANALYSIS = "malware-analysis"
    MARKING_DEFINITION = "marking-definition"
    NOTE = "note"
    OPINION = "opinion"
    REPORT = "report"
    THREAT_ACTOR = "threat-actor"
    TOOL = "tool"
    VULNERABILITY = "vulnerability"


class ObservableType(StrEnum):
    """What was observed; the second half has no STIX object."""

    DOMAIN = "domain"
    HOSTNAME = "hostname"
    URL = "url"
    URI_PATH = "uri-path"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    IP_RANGE = "ip-range"
    PORT = "port"
    MAC = "mac"
    ASN = "asn"
    EMAIL = "email"
    EMAIL_SUBJECT = "email-subject"
    FILE_NAME = "file-name"
    FILE_PATH = "file-path"
    FILE_SIZE = "file-size"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    SSDEEP = "ssdeep"
    IMPHASH = "imphash"
    CERTIFICATE = "certificate"
    USER_ACCOUNT = "user-account"
    MUTEX = "mutex"
    REGISTRY_KEY = "registry-key"
    PROCESS = "process"
    COMMAND_LINE = "command-line"
    USER_AGENT = "user-agent"
    DETECTION_NAME = "detection-name"
    LINK = "link"
    TEXT = "text"
    WALLET = "wallet"
    BANK_ACCOUNT = "bank-account"
    PHONE = "phone"
    HANDLE = "handle"
    APP_PACKAGE = "app-package"
    DEVICE_ID = "device-id"

    @property
    def is_personal(self) -> bool:
        """Whether such a value points to a person as a rule."""
        return self in _PERSONAL


_PERSONAL = frozenset(
    {
        ObservableType.EMAIL,
        ObservableType.USER_ACCOUNT,
        ObservableType.WALLET,
        ObservableType.BANK_ACCOUNT,
        ObservableType.PHONE,
        ObservableType.HANDLE,
        ObservableType.DEVICE_ID,
    }
)


class AttackDomain(StrEnum):
    """Matrices of MITRE ATT&CK."""

    ENTERPRISE = "enterprise"
    MOBILE = "mobile"
    ICS = "ics"


class SourceFormat(StrEnum):
    """Format of the document an alert was imported from."""

    STIX_2_0 = "stix-2.0"
    STIX_2_1 = "stix-2.1"
    MISP = "misp"
    CSV = "csv"
    JSON = "json"
