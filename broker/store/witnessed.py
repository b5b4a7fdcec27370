"""When a quorum of witnesses last stood behind the log: one number in a file beside its tiles.

The log writes it, gateway workers read it: they refuse for the time being what nobody would
witness for too long. Another such file says since when one is missing, so that a log which starts
again and again raises its alarm all the same. They are the hub's own notes to itself and prove
nothing to anybody.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from broker.store.errors import StoreError
from broker.store.tilefiles import TileFiles

WITNESSED: Final = "witnessed"
UNMET_SINCE: Final = "unmet-since"
_MAX_DIGITS: Final = 11


@dataclass(frozen=True)
class WitnessedAt:
    """A note of a time in one folder of tiles."""

    folder: Path
    name: str = WITNESSED

    def read(self) -> datetime | None:
        """Return the time, or None if none was ever noted, or it cannot be read."""
        try:
            text = (self.folder / self.name).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        if not text.isdecimal() or len(text) > _MAX_DIGITS:
            return None
        return datetime.fromtimestamp(int(text), tz=UTC)

    def write(self, at: datetime) -> None:
        """Note the time, synced.

        Raises:
            StoreError: `log-disk`.
        """
        TileFiles(self.folder).publish_note(self.name, b"%d\n" % int(at.timestamp()))

    def forget(self) -> None:
        """Take the note away, if there is one.

        Raises:
            StoreError: `log-disk`.
        """
        try:
            (self.folder / self.name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error
