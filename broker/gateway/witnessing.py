"""Whether to go on deciding although no quorum of members witnesses the log.

Police traffic does not stop because nodes are away. It stops for the time being when nobody has
stood behind the log for so long that a rewritten one could not be told from the true one.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.logs import get_logger
from broker.store.witnessed import WitnessedAt
from keys.directory.view import DirectoryView

LOOK_EVERY: Final = timedelta(seconds=2)  # a file is read that often, not for each submission
_log = get_logger()


@dataclass
class Witnessing:
    """What one worker knows of it.

    Attributes:
        noted: Where the log notes when a quorum was last there. Where there is no such note, the
            log never asked for witnesses, and nothing is refused.
        limit: So long it may be missing; zero: for ever.
    """

    noted: WitnessedAt
    limit: timedelta
    _last: datetime | None = field(default=None, repr=False)
    _looked_at: datetime | None = field(default=None, repr=False)

    def unmet(self, view: DirectoryView, now: datetime) -> bool:
        """Return whether to refuse for now what is submitted at `now`.

        A set of witnesses that begins later has its own time from then on.

        Args:
            view: The directory in force.
            now: The worker's clock.
        """
        if not self.limit or view.hub.log is None or not view.witnesses_at(now):
            return False
        began = max(each.since for each in view.witness_sets if each.since <= now)
        looks = self._looked_at is None or not timedelta(0) <= now - self._looked_at < LOOK_EVERY
        if looks:
            self._looked_at, self._last = now, self.noted.read()
        unmet = self._last is not None and now - max(self._last, began) > self.limit
        if looks and unmet:
            _log.error("log-unwitnessed", alarm="log-unwitnessed")
        return unmet
