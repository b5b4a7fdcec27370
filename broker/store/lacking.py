"""That leaves are missing here which were signed: a file beside the tiles, for who serves those.

The log writes it once a witness showed more than is here, and takes it away once all of it is. What
serves the files over HTTP is another process, and must not show a part as if it were all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.store.errors import StoreError
from broker.store.tilefiles import TileFiles

_NAME: Final = "lacking"


@dataclass(frozen=True)
class Lacking:
    """The mark in one folder of tiles."""

    folder: Path

    def is_marked(self) -> bool:
        """Return whether leaves are missing."""
        return (self.folder / _NAME).exists()

    def mark(self) -> None:
        """Say that leaves are missing, synced.

        Raises:
            StoreError: `log-disk`.
        """
        TileFiles(self.folder).publish_note(_NAME, b"\n")

    def forget(self) -> None:
        """Say that none is.

        Raises:
            StoreError: `log-disk`.
        """
        try:
            (self.folder / _NAME).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error
