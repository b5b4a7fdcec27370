"""Whether a key may be relied on at a given time. Pure rules; the caller names the time."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from keys.errors import DirectoryError
from schemas.directory import RevocationReason, Validity

Subject = Literal["key", "officer"]
STOLEN: Final = frozenset({RevocationReason.COMPROMISED, RevocationReason.LOST})
"""Reasons after which somebody else may sign with the key, and put any time under it."""


@dataclass(frozen=True)
class Standing:
    """From when until when a key holds, its own revocation and the region's taken together.

    Attributes:
        not_before: First instant at which it holds.
        not_after: First instant at which it no longer holds.
        revoked_at: From when it is revoked, the earlier of what its member and the region said.
        reason: Why, of the earlier revocation.
        stolen: Whether any revocation says that others may hold the key.
        disowned: Whether that is said of the member as a whole: then no time bounds the theft.
    """

    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    reason: RevocationReason | None = None
    stolen: bool = False
    disowned: bool = False

    @classmethod
    def of(
        cls,
        entry: Validity,
        suspended: tuple[datetime, RevocationReason] | None = None,
        *,
        stolen: bool = False,
    ) -> "Standing":
        """Return the standing of `entry`, cut short by the region's suspension if there is one.

        Args:
            entry: What its member says.
            suspended: What the region says of this key.
            stolen: Whether the region says that all keys of the member may be in other hands.
        """
        revoked_at, reason = entry.revoked_at, entry.reason
        reasons = {reason, suspended[1] if suspended else None}
        if suspended and (revoked_at is None or suspended[0] < revoked_at):
            revoked_at, reason = suspended
        any_stolen = stolen or bool(reasons & STOLEN)
        return cls(entry.not_before, entry.not_after, revoked_at, reason, any_stolen, stolen)

    def check(self, *, at: datetime, subject: Subject = "key") -> None:
        """Return if it holds at `at`.

        Raises:
            DirectoryError: `key-not-yet-valid`, `key-revoked` or `key-expired` (or `officer-...`).
        """
        if at < self.not_before:
            raise DirectoryError(f"{subject}-not-yet-valid", f"the {subject} is not valid yet")
        if self.revoked_at is not None and at >= self.revoked_at:
            raise DirectoryError(f"{subject}-revoked", f"the {subject} was revoked")
        if at >= self.not_after:
            raise DirectoryError(f"{subject}-expired", f"the {subject} has expired")

    def check_decided(self, *, at: datetime, subject: Subject = "key") -> None:
        """Return if it held at `at`, a time of decision that lies in the past.

        A key that others may hold by now is not believed about the past either: only a log could
        prove that something under it was decided before it was revoked.

        Raises:
            DirectoryError: As `check`, or `key-revoked-since` (or `officer-...`).
        """
        self.check(at=at, subject=subject)
        if self.stolen:
            raise DirectoryError(
                f"{subject}-revoked-since", f"the {subject} was lost or compromised since"
            )

    def proved(self, *, by: datetime) -> "Standing":
        """Return the standing for what certainly existed at `by`: no later theft can have made it.

        Where the whole member is in other hands, so may be the roles that certified its keys, for
        nobody knows how long: then nothing is proved by time.
        """
        before = self.revoked_at is not None and by <= self.revoked_at
        return replace(self, stolen=False) if before and not self.disowned else self

    def ended_since(self, *, at: datetime) -> bool:
        """Return whether it held at `at` and stands revoked from a later time: to be shown."""
        return self.stolen or (self.revoked_at is not None and at < self.revoked_at)

    def holds(self, *, at: datetime) -> bool:
        """Return whether `check` would return; for choosing among keys, never for admitting."""
        ended = self.revoked_at is not None and at >= self.revoked_at
        return self.not_before <= at < self.not_after and not ended
