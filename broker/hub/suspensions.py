"""Connections that the operator suspended: announced to all, and over by themselves after 72 hours.

A suspension touches a connection and no key: whether a member is trusted is for the members to
say. It ends early if the operator lifts it; if the members confirm it, their own revocation
stands in its place. Every one stays in the file, so that the operator's use of it can be read.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from broker.errors import BrokerError
from broker.store.digested import read_digested, write_digested
from broker.transport.services import Notice
from schemas.directory import Line
from schemas.label import MemberCode, Moment, Strict

LASTS: Final = timedelta(hours=72)
_MAX_BYTES: Final = 4 * 1024 * 1024


class Suspension(Strict):
    """One suspension of a member's connection by the operator."""

    member: MemberCode
    reason: Line
    at: Moment
    until: Moment

    def holds(self, now: datetime) -> bool:
        """Return whether it is in force."""
        return self.at <= now < self.until

    def notice(self) -> Notice:
        """Return how all members are told."""
        return Notice(self.member, self.reason, self.at, self.until)


class Suspensions(Strict):
    """`hub/suspensions.json`, oldest first."""

    entries: Annotated[tuple[Suspension, ...], Field(max_length=10_000)] = ()

    def in_force(self, now: datetime) -> dict[str, Suspension]:
        """Return those that hold, by member."""
        return {entry.member: entry for entry in self.entries if entry.holds(now)}

    def suspend(self, member: str, reason: str, *, now: datetime) -> "Suspensions":
        """Return the list with one more.

        Raises:
            BrokerError: `suspended-already`.
        """
        if member in self.in_force(now):
            raise BrokerError("suspended-already", f"{member} is suspended already")
        entry = Suspension(member=member, reason=reason, at=now, until=now + LASTS)
        return Suspensions(entries=(*self.entries, entry))

    def lift(self, member: str, *, now: datetime) -> "Suspensions":
        """Return the list in which `member`'s suspension ends now.

        Raises:
            BrokerError: `not-suspended`.
        """
        if member not in self.in_force(now):
            raise BrokerError("not-suspended", f"{member} is not suspended by the operator")
        return Suspensions(
            entries=tuple(
                entry.model_copy(update={"until": now})
                if entry.member == member and entry.holds(now)
                else entry
                for entry in self.entries
            )
        )


def read_suspensions(path: Path) -> Suspensions:
    """Return what stands in the file; none if there is no file.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    return read_digested(path, Suspensions, max_bytes=_MAX_BYTES) or Suspensions()


def write_suspensions(path: Path, found: Suspensions) -> None:
    """Replace the file.

    Raises:
        KeyFileError: It cannot be written.
    """
    write_digested(path, found)
