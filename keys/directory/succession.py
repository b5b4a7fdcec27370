"""What may follow a version of the directory: nothing goes back, nothing that ended comes back."""

from keys.directory.documents import MemberFiles
from keys.directory.trust import TrustedDirectory
from keys.errors import DirectoryError


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
    check_suspensions_stand(old, new)
    for code, files in old.content.documents.items():
        after = new.content.documents.get(code)
        if after is not None:
            _check_history(code, files, after)


def check_suspensions_stand(old: TrustedDirectory, new: TrustedDirectory) -> None:
    """Return if every suspension of `old` still stands in `new`, lifted or not.

    Two members may suspend; only the threshold may lift, and it does so beside the entry.

    Raises:
        DirectoryError: `suspension-vanished`.
    """
    if not set(old.content.revocations.entries) <= set(new.content.revocations.entries):
        raise DirectoryError("suspension-vanished", "a suspension was removed, not lifted")


def _check_history(code: str, before: MemberFiles, after: MemberFiles) -> None:
    pairs = (
        (before.document.verification_keys, after.document.verification_keys),
        (before.officers.officers, after.officers.officers),
    )
    for old_entries, new_entries in pairs:
        now = {entry.key: entry for entry in new_entries}
        for old in old_entries:
            new = now.get(old.key)
            if new is None or (old.revoked_at is not None and new.revoked_at is None):
                raise DirectoryError(
                    "history-rewritten", f"{code} would remove a key or take back its end"
                )
