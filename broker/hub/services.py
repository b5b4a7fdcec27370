"""The hub's answers to members. Who asks is known from the subject, which the account fixes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker import clock
from broker.admission.quota import Bucket
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.services import (
    Notice,
    busy_answer,
    notices_answer,
    piece_of,
    read_fields,
    time_answer,
)
from keys.directory.repository import DirectoryRepository
from keys.errors import DirectoryError

RATE_PER_S: Final = 100.0  # of one member; a cold refresh of eleven members asks about fifty times
BURST: Final = 1_000.0
_MEMBER: Final = 1  # hub.CC.dir.PATH
_PATH: Final = 3
_log = get_logger()


@dataclass
class MemberServices:
    """Serves `hub.CC.>` of every member.

    Attributes:
        repository: The published directory.
        notices: What to announce at this moment.
    """

    repository: DirectoryRepository
    notices: Callable[[datetime], tuple[Notice, ...]]
    _buckets: dict[str, Bucket] = field(default_factory=dict)  # Of the link's own task alone.

    async def serve(self, link: Link) -> None:
        """Answer on `link` from now on."""
        await link.serve("hub.*.dir.>", self._limited(self._directory))
        await link.serve("hub.*.time", self._limited(self._time))
        await link.serve("hub.*.notices", self._limited(self._notices))

    def _limited(
        self, answer: Callable[[str, bytes], bytes]
    ) -> Callable[[str, bytes], Awaitable[bytes | None]]:
        async def limited(subject: str, payload: bytes) -> bytes | None:
            member, now = subject.split(".")[_MEMBER], clock.now()
            bucket = self._buckets.get(member)
            if bucket is None:
                bucket = Bucket.full(rate_per_s=RATE_PER_S, burst=BURST, now=now)
            self._buckets[member], wait_s = bucket.take(now)
            if wait_s:
                return busy_answer()
            try:
                return answer(subject, payload)
            except (BrokerError, DirectoryError) as error:
                _log.warning("request-refused", member=member, error_code=error.code)
                return piece_of(None, 0)

        return limited

    def _directory(self, subject: str, payload: bytes) -> bytes:
        offset = read_fields(payload).get("offset")
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise BrokerError("bad-request", "an offset is missing")
        return piece_of(self.repository.read(subject.split(".", _PATH)[_PATH]), offset)

    @staticmethod
    def _time(_subject: str, _payload: bytes) -> bytes:
        return time_answer(clock.now())

    def _notices(self, _subject: str, _payload: bytes) -> bytes:
        return notices_answer(self.notices(clock.now()))
