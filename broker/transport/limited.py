"""Answers members at a bounded rate each, and never fails because of what one of them asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from broker.admission.quota import Buckets
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
    _buckets: Buckets = field(default_factory=Buckets)  # Of the link's own task alone.

    def __call__(self, answer: Answering) -> Callable[[str, bytes], Awaitable[bytes | None]]:
        """Return `answer` limited; what it refuses is answered as a file that is missing."""

        async def limited(subject: str, payload: bytes) -> bytes | None:
            member = asked_by(subject)
            if self._buckets.take(member, self.rate_per_s, self.burst):
                return busy_answer()
            try:
                found = answer(subject, payload)
                return found if isinstance(found, bytes) else await found
            except (BrokerError, KeysError) as error:
                _log.warning("request-refused", member=member, error_code=error.code)
                return piece_of(None, 0)

        return limited
