"""The directory as it counts for one message of which it is proved by when it existed.

Under a key that others may hold, any time can be written: what is signed with it is not believed
about the past. A log that enough witnesses cosigned before the key was revoked is another matter:
whoever stole the key later cannot have put anything under it then.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keys.directory.entries import KeyEntry, OfficerEntry
from keys.directory.validity import STOLEN
from keys.directory.view import DirectoryView, MemberView
from schemas.directory import RevocationReason, VerificationKey


def proved(view: DirectoryView, *, by: datetime) -> DirectoryView:
    """Return `view` for reading what existed at `by`: keys stolen only after that are believed.

    That they ended since stays in it, to be shown.

    Args:
        view: The directory.
        by: What is read was in the log by then, as a quorum of its witnesses said at the time.
    """
    gateways = tuple(_gateway(entry, by) for entry in view.hub.gateway_keys)
    return replace(
        view,
        hub=view.hub.model_copy(update={"gateway_keys": gateways}),
        member_views={code: _member(each, by) for code, each in view.member_views.items()},
    )


def _member(member: MemberView, by: datetime) -> MemberView:
    verification: Mapping[bytes, KeyEntry] = {
        kid: replace(entry, standing=entry.standing.proved(by=by))
        for kid, entry in member.verification.items()
    }
    certified: Mapping[bytes, OfficerEntry] = {
        kid: replace(entry, standing=entry.standing.proved(by=by))
        for kid, entry in member.certified.items()
    }
    return replace(member, verification=verification, certified=certified)


def _gateway(entry: VerificationKey, by: datetime) -> VerificationKey:
    """The region says of its hub's keys itself when they ended; no member can suspend them."""
    if entry.reason in STOLEN and entry.revoked_at is not None and by <= entry.revoked_at:
        return entry.model_copy(update={"reason": RevocationReason.SUPERSEDED})
    return entry
