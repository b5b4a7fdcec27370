"""The SDK: an async client of a node's local API."""

from broker.client.client import Client
from broker.client.compose import Fields, compose
from broker.client.errors import (
    BadAnswer,
    Conflict,
    LocalError,
    NotAccepted,
    NotAuthorised,
    NotFound,
    OutcomeUnknown,
    ProblemError,
    Refused,
    Unavailable,
    Undecided,
    Unreachable,
    UntrustedDraft,
)
from broker.client.profiles import Profile, ProfileBasis, ProfileContact, Profiles
from broker.client.signing import KeptKey, SignedDraft, Signer, signer_of
from broker.client.submission import Submission
from broker.client.subscription import Item, Subscription, typed_alert
from broker.errors import BrokerError

__all__ = [
    "BadAnswer",
    "BrokerError",
    "Client",
    "Conflict",
    "Fields",
    "Item",
    "KeptKey",
    "LocalError",
    "NotAccepted",
    "NotAuthorised",
    "NotFound",
    "OutcomeUnknown",
    "ProblemError",
    "Profile",
    "ProfileBasis",
    "ProfileContact",
    "Profiles",
    "Refused",
    "SignedDraft",
    "Signer",
    "Submission",
    "Subscription",
    "Unavailable",
    "Undecided",
    "Unreachable",
    "UntrustedDraft",
    "compose",
    "signer_of",
    "typed_alert",
]
