"""What a running hub knows of itself at this moment, kept for whoever watches it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.transport.link import Link
from broker.transport.streamstates import StreamState
from keys.directory.view import DirectoryView

STALE_AFTER: Final = timedelta(minutes=1)  # six looks at the streams


@dataclass(frozen=True)
class ServerSeen:
    """One server of a cluster.

    Attributes:
        up: Whether it answered with a certificate that is believed.
        expires: When the certificate that it last showed runs out; None before it showed any.
    """

    up: bool
    expires: datetime | None


@dataclass
class Pulse:
    """Written by the hub's tasks, read by whoever asks.

    Attributes:
        link: On the hub's own account; None before the first connection.
        view: The directory as published here.
        streams: As they were when last looked at.
        silent: Others, for which no server spoke then.
        looked_at: When that was, and the hub's state was written down.
        suspended: Members whose connection is cut.
        went_back: Streams that lost messages.
        clock_in_doubt: Whether nothing leaves by age, since the time cannot be explained.
        servers: Of a cluster, each server by its name, as it was when last called.
        not_storing: Names of servers that store no more, as after a full disk.
    """

    link: Link | None = None
    view: DirectoryView | None = None
    streams: Mapping[str, StreamState] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    looked_at: datetime | None = None
    suspended: int = 0
    went_back: tuple[str, ...] = ()
    clock_in_doubt: bool = False
    servers: Mapping[str, ServerSeen] = field(default_factory=dict)
    not_storing: frozenset[str] = frozenset()

    @property
    def connected(self) -> bool:
        """Whether the server answers at this moment, as far as is known."""
        return self.link is not None and self.link.connected

    def checks(self, now: datetime) -> dict[str, bool]:
        """Return what a ready hub must have: server, a fresh directory, a disk that takes writes.

        The disk is known by the state that the hub writes down with each look at the streams.
        """
        looked = self.looked_at is not None and now - self.looked_at < STALE_AFTER
        return {
            "connected": self.connected,
            "directory": self.view is not None and now < self.view.fresh_until,
            "writes": looked,
        }
