"""Which parts of the directory people must sign again soon. Pure; the caller names the time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keys.directory import layout


@dataclass(frozen=True, order=True)
class Expiring:
    """A role of the directory that must be signed again soon.

    Attributes:
        expires_at: From then on nobody believes it.
        role: `root`, `targets`, `revocations` or `member-CC`.
    """

    expires_at: datetime
    role: str

    @property
    def member(self) -> str | None:
        """Who alone can sign it again; None for a role that several sign."""
        return layout.member_of(self.role)


def expiring(expiries: Mapping[str, datetime], now: datetime) -> tuple[Expiring, ...]:
    """Return the roles within their time of alarm, or past it, the most urgent first."""
    return tuple(
        sorted(
            Expiring(expires_at, role)
            for role, expires_at in expiries.items()
            if (before := layout.alarm_before(role)) and now >= expires_at - before
        )
    )
