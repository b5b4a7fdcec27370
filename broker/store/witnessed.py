"""When a quorum of witnesses last stood behind the log: one number in a file beside its tiles.

The log writes it, gateway workers read it: they refuse for the time being what nobody would
witness for too long. It is the hub's own note to itself and proves nothing to anybody.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from broker.store.tilefiles import TileFiles

_NAME: Final = "witnessed"
_MAX_DIGITS: Final = 11


@dataclass(frozen=True)
class WitnessedAt:
    """The note in one folder of tiles."""

    folder: Path

    def read(self) -> datetime | None:
        """Return the time, or None if none was ever noted, or it cannot be read."""
        try:
            text = (self.folder / _NAME).read_text("ascii").strip()
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
        TileFiles(self.folder).publish_note(_NAME, b"%d\n" % int(at.timestamp()))
