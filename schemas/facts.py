"""Facts derived from content: a lower bound for the label, by a pure function.

The sender's node derives them before sealing and every recipient after opening; a label that
understates them is quarantined and reported.
"""

import re
from typing import Final

from schemas.blocks.base import Text
from schemas.blocks.contact import OnlineAccount, Phone
from schemas.blocks.conveyance import Vehicle
from schemas.blocks.funds import BankAccount, CryptoWallet
from schemas.blocks.identity import Biometric, NationalIdentifier, TravelDocument
from schemas.blocks.person import Person
from schemas.common import Alert
from schemas.cybercodes import ObservableType
from schemas.label import Facts, Strict
from schemas.threat import Entity, Indicator, Part
from schemas.walk import parts

_ALWAYS_PERSONAL: Final = (
    Person,
    TravelDocument,
    NationalIdentifier,
    Biometric,
    Phone,
    OnlineAccount,
    BankAccount,
    CryptoWallet,
    Vehicle,
)
_PERSONAL_PATTERN: Final = re.compile(r"email-(addr|message)|user-account|phone", re.IGNORECASE)


def derive_facts(
    alert: Alert,
    *,
    has_original: bool,
    has_attachments: bool,
    reviewed_no_personal_data: bool,
) -> Facts:
    """Return the least that the label must state.

    Args:
        alert: Validated.
        has_original: Whether the original document itself is carried, not its hash alone.
        has_attachments: Whether attachments are carried.
        reviewed_no_personal_data: An officer vouches that originals, attachments and free text
            hold no personal data. Typed personal fields count all the same.
    """
    found = [part for _, part in parts(alert)]
    people = [part for part in found if isinstance(part, Person)]
    unreviewed = has_original or has_attachments or any(isinstance(p, Text) for p in found)
    return Facts(
        personal_data=any(_is_personal(part) for part in found)
        or (unreviewed and not reviewed_no_personal_data),
        victim=alert.concerns_victims or any(person.role.is_victim for person in people),
        minor=alert.concerns_minors or any(person.may_be_minor for person in people),
        biometrics=any(isinstance(part, Biometric) for part in found),
    )


def _is_personal(part: Strict) -> bool:
    match part:
        case Part(type=ObservableType() as kind):
            return kind.is_personal
        case Indicator(pattern=pattern):
            return _PERSONAL_PATTERN.search(pattern) is not None
        case Entity(identity_class=kind_of_identity, contact_information=contact):
            return contact is not None or kind_of_identity == "individual"
        case _:
            return isinstance(part, _ALWAYS_PERSONAL)
