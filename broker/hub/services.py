"""The hub's answers to members. Who asks is known from the subject, which the account fixes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker import clock
from broker.transport.limited import Limited
from broker.transport.link import Link
from broker.transport.services import (
    Notice,
    asked_file,
    notices_answer,
    piece_for,
    time_answer,
)
from keys.directory.repository import DirectoryRepository

RATE_PER_S: Final = 100.0  # of one member; a cold refresh of eleven members asks about fifty times
BURST: Final = 1_000.0


@dataclass
class MemberServices:
    """Serves `hub.CC.>` of every member.

    Attributes:
        repository: The published directory.
        notices: What to announce at this moment.
    """

    repository: DirectoryRepository
    notices: Callable[[datetime], tuple[Notice, ...]]

    async def serve(self, link: Link) -> None:
        """Answer on `link` from now on."""
        limited = Limited(rate_per_s=RATE_PER_S, burst=BURST)
        await link.serve("hub.*.dir.>", limited(self._directory))
        await link.serve("hub.*.time", limited(self._time))
        await link.serve("hub.*.notices", limited(self._notices))

    def _directory(self, subject: str, payload: bytes) -> bytes:
        return piece_for(self.repository.read(asked_file(subject)), payload)

    @staticmethod
    def _time(_subject: str, _payload: bytes) -> bytes:
        return time_answer(clock.now())

    def _notices(self, _subject: str, _payload: bytes) -> bytes:
        return notices_answer(self.notices(clock.now()))
