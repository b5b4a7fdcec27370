"""Closed code lists of the label. Codes travel; words in a reader's language are made at the edge.

Sources: TLP 2.0 and PAP (FIRST, MISP taxonomies), handling codes H0 to H3 (Europol), precedence
(ACP 121), purposes (INTERPOL Rules on the Processing of Data, article 10), statuses (CAP 1.2).
"""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Whether the world is meant. Anything but `actual` is marked as such wherever it is shown."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"


class Kind(StrEnum):
    """What a message is: an alert for people, or a control between nodes."""

    ALERT = "alert"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    OPENED = "opened"
    PURGED = "purged"
    PAIR_STATE = "pair-state"

    @property
    def is_control(self) -> bool:
        """Whether the fixed rule for control kinds judges it instead of the states' policies."""
        return self is not Kind.ALERT


class Precedence(StrEnum):
    """Queueing and notification only; it never widens distribution."""

    ROUTINE = "routine"
    PRIORITY = "priority"
    IMMEDIATE = "immediate"
    FLASH = "flash"


class TLP(StrEnum):
    """Traffic Light Protocol 2.0, least restrictive first."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"

    @property
    def rank(self) -> int:
        """0 for CLEAR up to 4 for RED."""
        return _TLP_RANKS[self]


_TLP_RANKS: Final = {tlp: rank for rank, tlp in enumerate(TLP)}


class PAP(StrEnum):
    """Permissible Actions Protocol: what may be done with the information."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class Handling(StrEnum):
    """Europol handling codes; a set, of which H0 excludes nothing."""

    H0 = "h0"
    H1 = "h1"
    H2 = "h2"
    H3 = "h3"


class Level(StrEnum):
    """Classification as given by the originator, lowest first."""

    NONE = "none"
    OFFICIAL = "official"
    RESTRICTED = "restricted"
    CONFIDENTIAL = "confidential"
    SECRET = "secret"  # noqa: S105 - a level, not a password
    TOP_SECRET = "top-secret"  # noqa: S105 - a level, not a password

    @property
    def rank(self) -> int:
        """0 for NONE up to 5 for TOP SECRET."""
        return _LEVEL_RANKS[self]


_LEVEL_RANKS: Final = {level: rank for rank, level in enumerate(Level)}
MAX_LEVEL: Final = Level.RESTRICTED  # no ASEAN-wide equivalence table of levels is known


class Purpose(StrEnum):
    """Why the information may be used."""

    WANTED = "wanted"
    MISSING = "missing"
    IDENTIFY = "identify-person-object"
    INVESTIGATION_HISTORY = "investigation-history"
    WARN = "warn"
    IDENTIFY_BODY = "identify-body"
    FORENSIC = "forensic"
    SECURITY_CHECK = "security-check"
    BORDER_CONTROL = "border-control"
    THREAT_ANALYSIS = "threat-analysis"


class JudicialUse(StrEnum):
    """Whether the information may be used in court."""

    FREE = "free"
    WITH_CONSENT = "with-consent"
    PROHIBITED = "prohibited"


class Lane(StrEnum):
    """Queue of a message, so that an urgent one never waits behind a backlog."""

    URGENT = "urgent"
    NORMAL = "normal"
    EXERCISE = "exercise"
    CONTROL = "control"


class AlertType(StrEnum):
    """The typed contents this software reads; the label admits others, relayed unopened."""

    DRUGS = "drugs"
    TRAFFICKING = "trafficking"
    CYBER = "cyber"


CONTROL_TYPE: Final = "control"  # the label's `type` of every control kind
ASEAN: Final = ("BN", "ID", "KH", "LA", "MM", "MY", "PH", "SG", "TH", "TL", "VN")
