"""What may follow a version of the directory: nothing goes back, nothing that ended comes back."""

from collections.abc import Iterable
from typing import TypeVar

from keys.directory.trust import TrustedDirectory
from keys.directory.validity import STOLEN
from keys.errors import DirectoryError
from schemas.directory import Officer, Validity, VerificationKey, WitnessKey


def check_succession(old: TrustedDirectory, new: TrustedDirectory) -> None:
    """Return if `new` may follow `old`: nothing goes back, nothing that ended comes back.

    A verification key and an officer's certificate are never removed, and a revocation is not
    taken back, since old envelopes are judged by them for ever.

    Raises:
        DirectoryError: `rollback`, `history-rewritten` or `suspension-vanished`.
    """
    if new.root.version < old.root.version or new.snapshot.version < old.snapshot.version:
        raise DirectoryError("rollback", "the directory would go back to an older version")
    for name, meta in old.snapshot.meta.items():
        newer = new.snapshot.meta.get(name)
        if newer is not None and newer.version < meta.version:
            raise DirectoryError("rollback", f"{name} would go back to an older version")
    check_history_stands(old, new)


def check_history_stands(old: TrustedDirectory, new: TrustedDirectory) -> None:
    """Return if everything that ended in `old` has ended in `new`, and no key vanished.

    Two members may suspend; only the threshold may lift, and it does so beside the entry.

    Raises:
        DirectoryError: `history-rewritten` or `suspension-vanished`.
    """
    if not set(old.content.revocations.entries) <= set(new.content.revocations.entries):
        raise DirectoryError("suspension-vanished", "a suspension was removed, not lifted")
    before, after = old.content.hub, new.content.hub
    _check_entries("the region", before.gateway_keys, after.gateway_keys)
    if before.log is not None and after.log != before.log:
        raise DirectoryError("history-rewritten", "the log's name or keys would change")
    sets = old.content.region.witness_sets
    if new.content.region.witness_sets[: len(sets)] != sets:
        raise DirectoryError("history-rewritten", "past witnesses would change")
    for code, files in old.content.documents.items():
        newer = new.content.documents.get(code)
        if newer is None:
            raise DirectoryError("history-rewritten", f"{code} and its keys would vanish")
        _check_entries(code, files.document.verification_keys, newer.document.verification_keys)
        _check_entries(code, files.document.witness_keys, newer.document.witness_keys)
        _check_entries(code, files.officers.officers, newer.officers.officers)


EntryT = TypeVar("EntryT", VerificationKey, WitnessKey, Officer)


def _check_entries(whose: str, before: Iterable[EntryT], after: Iterable[EntryT]) -> None:
    found = {entry.key: entry for entry in after}
    for old in before:
        new = found.get(old.key)
        if new is None or _is_rewritten(old, new):
            raise DirectoryError(
                "history-rewritten", f"{whose} would remove a key or take back its end"
            )


def _is_rewritten(old: Validity, new: Validity) -> bool:
    """Return whether an entry would be believed at a time at which it was not."""
    stays_revoked = old.revoked_at is None or (
        new.revoked_at is not None and new.revoked_at <= old.revoked_at
    )
    stays_stolen = old.reason not in STOLEN or new.reason in STOLEN
    same_times = new.not_before == old.not_before and new.not_after <= old.not_after
    return not (stays_revoked and stays_stolen and same_times)
