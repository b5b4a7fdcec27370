"""Files that show what the log's owner should not have signed: kept for ever, at most so many."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.logs import get_logger
from keys.errors import KeyFileError
from keys.files import make_private_folder, write_private
from keys.primitives.hashing import sha256

MAX_KEPT: Final = 256
_log = get_logger()


@dataclass(frozen=True)
class LogEvidence:
    """Where one node keeps it."""

    folder: Path

    def keep(self, what: str, raw: bytes) -> Path:
        """Return the file in which `raw` lies from now on; the folder if it holds enough.

        A disk that does not take it delays no alarm.
        """
        path = self.folder / f"{what}-{sha256(raw).hex()[:16]}"
        try:
            make_private_folder(self.folder.parent)
            make_private_folder(self.folder)
            if not path.exists() and sum(1 for _ in self.folder.iterdir()) < MAX_KEPT:
                write_private(path, raw)
        except (OSError, KeyFileError) as error:
            _log.error("evidence-not-kept", error=type(error).__name__)
        return path if path.exists() else self.folder
