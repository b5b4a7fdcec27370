"""Files that show what the log's owner signed and a witness refused: kept for ever.

Each kind has room of its own: who sends many harmless ones leaves the room for the others alone.
What finds no room is said: a person carries the files away, and there is room again.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.logs import get_logger
from keys.errors import KeyFileError
from keys.files import make_private_folder, write_private
from keys.primitives.hashing import sha256

MAX_KEPT: Final = 256  # of a kind
MAX_READ_BYTES: Final = 2 * 1024 * 1024
_DIGITS: Final = 16  # of the hash in a name
_log = get_logger()


@dataclass(frozen=True)
class LogEvidence:
    """Where one node keeps it.

    Attributes:
        lost: Set once something was not kept, since the disk or its kind's room is full; whoever
            raises the alarm clears it.
    """

    folder: Path
    lost: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def keep(self, what: str, raw: bytes) -> Path:
        """Return the file in which `raw` lies from now on; the folder if it has no room for it.

        A disk that does not take it delays no alarm.
        """
        path = self.folder / f"{what}-{sha256(raw).hex()[:_DIGITS]}"
        try:
            make_private_folder(self.folder.parent)
            make_private_folder(self.folder)
            if not path.exists() and len(self._of(what)) < MAX_KEPT:
                write_private(path, raw)
        except (OSError, KeyFileError) as error:
            _log.error("evidence-not-kept", error=type(error).__name__)
        if path.exists():
            return path
        self.lost.set()
        return self.folder

    def kept(self, what: str) -> list[bytes]:
        """Return what is kept under `what`, the newest first; what cannot be read is left out."""
        found: list[bytes] = []
        for path in reversed(self._of(what)):
            try:
                with path.open("rb") as file:
                    found.append(file.read(MAX_READ_BYTES))
            except OSError as error:
                _log.warning("evidence-not-read", error=type(error).__name__)
        return found

    def _of(self, what: str) -> list[Path]:
        if not self.folder.is_dir():
            return []
        named = [p for p in self.folder.iterdir() if p.name[: -_DIGITS - 1] == what]
        return sorted(named, key=lambda path: path.stat().st_mtime)
