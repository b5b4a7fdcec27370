"""Answers members at a bounded rate each, and never fails because of what one of them asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from broker import clock
from broker.admission.quota import Bucket
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.transport.services import asked_by, busy_answer, piece_of
from keys.errors import KeysError

Answering = Callable[[str, bytes], bytes | Awaitable[bytes]]
_log = get_logger()


@dataclass
class Limited:
    """Wraps the answers of one process; all of them share each member's rate."""

    rate_per_s: float
    burst: float
    _buckets: dict[str, Bucket] = field(default_factory=dict)  # Of the link's own task alone.

    def __call__(self, answer: Answering) -> Callable[[str, bytes], Awaitable[bytes | None]]:
        """Return `answer` limited; what it refuses is answered as a file that is missing."""

        async def limited(subject: str, payload: bytes) -> bytes | None:
            member, now = asked_by(subject), clock.now()
            bucket = self._buckets.get(member)
            if bucket is None:
                bucket = Bucket.full(rate_per_s=self.rate_per_s, burst=self.burst, now=now)
            self._buckets[member], wait_s = bucket.take(now)
            if wait_s:
                return busy_answer()
            try:
                found = answer(subject, payload)
                return found if isinstance(found, bytes) else await found
            except (BrokerError, KeysError) as error:
                _log.warning("request-refused", member=member, error_code=error.code)
                return piece_of(None, 0)

        return limited
