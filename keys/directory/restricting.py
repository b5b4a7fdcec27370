"""What a newer directory takes away, applied to one that is in force; what it grants is left out.

For a reader who may not rely on the newer one yet. A revocation bites at once, whoever shows it:
it needed the signatures of those whom it concerns, or of two members.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keys.directory.entries import EntryT
from keys.directory.validity import Standing
from keys.directory.view import DirectoryView, MemberView


def restricted(
    view: DirectoryView, newer: DirectoryView, *, fresh_until: datetime
) -> DirectoryView:
    """Return `view` without what has ended in `newer`.

    Keys, officers and members that end there end here, from the same time on. Policies, new keys,
    new members, suspensions lifted and sets of witnesses stay as they are in `view`.

    Args:
        view: In force.
        newer: Verified, and its history stands upon that of `view`.
        fresh_until: Until when the result may be relied on.
    """
    gateways = {entry.key: entry for entry in newer.hub.gateway_keys}
    kept = tuple(gateways.get(entry.key, entry) for entry in view.hub.gateway_keys)
    return replace(
        view,
        fresh_until=fresh_until,
        hub=view.hub.model_copy(update={"gateway_keys": kept}),
        member_views={
            code: _member(old, newer.member_views.get(code))
            for code, old in view.member_views.items()
        },
    )


def _member(old: MemberView, new: MemberView | None) -> MemberView:
    if new is None:  # a history that stands has lost nobody
        return old
    return replace(
        old,
        suspended_at=_earlier(old.suspended_at, new.suspended_at),
        lapses_at=_earlier(old.lapses_at, new.lapses_at),
        verification=_entries(old.verification, new.verification),
        encryption=_entries(old.encryption, new.encryption),
        certified=_entries(old.certified, new.certified),
    )


def _entries(old: Mapping[bytes, EntryT], new: Mapping[bytes, EntryT]) -> Mapping[bytes, EntryT]:
    return {
        kid: replace(entry, standing=_standing(entry.standing, new[kid].standing))
        if kid in new
        else entry
        for kid, entry in old.items()
    }


def _standing(old: Standing, new: Standing) -> Standing:
    first = new if old.revoked_at is None or _is_before(new, old) else old
    return Standing(
        max(old.not_before, new.not_before),
        min(old.not_after, new.not_after),
        first.revoked_at,
        first.reason,
        old.stolen or new.stolen,
        old.disowned or new.disowned,
    )


def _is_before(new: Standing, old: Standing) -> bool:
    return (
        new.revoked_at is not None
        and old.revoked_at is not None
        and new.revoked_at < old.revoked_at
    )


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    both = [each for each in (one, other) if each is not None]
    return min(both, default=None)
