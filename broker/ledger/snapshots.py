"""Each directory snapshot that the hub publishes becomes a leaf of kind DIRECTORY.

A hub that shows some members another directory must then show it to the log as well, where every
witness sees it: a snapshot without such a leaf under a cosigned checkpoint counts nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.ledger.intake import NOWHERE, Noticed
from broker.log.leaf import LeafKind
from broker.logs import get_logger
from keys.errors import KeysError
from schemas.label import DirectoryVersion

_MARK: Final = "directory"
_log = get_logger()


@dataclass
class Snapshots:
    """The newest snapshot that has a leaf.

    Attributes:
        version: Its number; 0 before the first.
        hash: In hexadecimal.
    """

    version: int = 0
    hash: str = ""
    _refused: str = ""

    @classmethod
    def of(cls, marks: Mapping[str, str]) -> "Snapshots":
        """Return what was remembered at the last growth that had one."""
        version, _, digest = marks.get(_MARK, "0 ").partition(" ")
        return cls(int(version), digest)

    def marks(self) -> dict[str, str | None]:
        """Return what is remembered with the leaf."""
        return {_MARK: f"{self.version} {self.hash}"}

    def taken(self, published: Callable[[], DirectoryVersion]) -> Noticed | None:
        """Return the leaf of the published snapshot, if it has none yet.

        An older one than the newest that has a leaf gets none: the hub was put back, and says so.
        """
        try:
            found = published()
        except KeysError as error:
            self._say("directory-not-read", error.code)
            return None
        digest = found.hash.hex()
        if (found.snapshot, digest) == (self.version, self.hash):
            return None
        if found.snapshot < self.version:
            self._say("directory-older", "directory-older")
            return None
        self.version, self.hash, self._refused = found.snapshot, digest, ""
        _log.info("snapshot-logged", snapshot=found.snapshot)
        return Noticed(LeafKind.DIRECTORY, stream=NOWHERE, seq=found.snapshot, snapshot=found.hash)

    def _say(self, event: str, code: str) -> None:
        if self._refused != code:  # once, and not four times a second
            self._refused = code
            _log.error(event, error_code=code, alarm=event)
