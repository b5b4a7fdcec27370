"""Whether a key may be relied on at a given time. Pure rules; the caller names the time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from keys.errors import DirectoryError
from schemas.directory import RevocationReason, Validity

Subject = Literal["key", "officer"]


@dataclass(frozen=True)
class Standing:
    """From when until when a key holds, its own revocation and the region's taken together.

    Attributes:
        not_before: First instant at which it holds.
        not_after: First instant at which it no longer holds.
        revoked_at: From when it is revoked, the earlier of what its member and the region said.
        reason: Why, of the earlier revocation.
    """

    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    reason: RevocationReason | None = None

    @classmethod
    def of(
        cls, entry: Validity, suspended: tuple[datetime, RevocationReason] | None = None
    ) -> "Standing":
        """Return the standing of `entry`, cut short by the region's suspension if there is one."""
        revoked_at, reason = entry.revoked_at, entry.reason
        if suspended and (revoked_at is None or suspended[0] < revoked_at):
            revoked_at, reason = suspended
        return cls(entry.not_before, entry.not_after, revoked_at, reason)

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

    def holds(self, *, at: datetime) -> bool:
        """Return whether `check` would return; for choosing among keys, never for admitting."""
        ended = self.revoked_at is not None and at >= self.revoked_at
        return self.not_before <= at < self.not_after and not ended
