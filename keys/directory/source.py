"""The published directory as the hub's own processes read it: verified, like any other."""

from dataclasses import dataclass, field
from pathlib import Path

from keys.directory.repository import DirectoryRepository
from keys.directory.trust import TrustedDirectory
from keys.directory.view import DirectoryView
from keys.home import Home


@dataclass(frozen=True)
class PublishedDirectory:
    """Reads the repository's folder and trusts nothing in it that does not verify."""

    repository: DirectoryRepository
    pinned_root: bytes

    @classmethod
    def at(cls, home: Path) -> "PublishedDirectory":
        """Return the directory published from the hub's home folder.

        Raises:
            KeyFileError: The region's root was not put there.
        """
        place = Home(home)
        root = place.pinned_root()
        return cls(DirectoryRepository(place.directory, pinned_root=root), root)

    def view(self) -> DirectoryView:
        """Return the newest version, verified; `check_fresh` tells its age.

        Raises:
            DirectoryError: It breaks a rule, or a file is missing.
        """
        trusted = TrustedDirectory(self.repository.bundle(), pinned_root=self.pinned_root)
        return trusted.view()


@dataclass
class LatestDirectory:
    """The published directory in memory, verified again whenever anything in it changed."""

    published: PublishedDirectory
    _view: DirectoryView | None = field(default=None, repr=False)
    _timestamp: bytes = field(default=b"", repr=False)

    def view(self) -> DirectoryView:
        """Return the newest version.

        Raises:
            DirectoryError: As `PublishedDirectory.view`.
        """
        timestamp = self.published.repository.read("metadata/timestamp.json") or b""
        if self._view is None or timestamp != self._timestamp:
            self._view, self._timestamp = self.published.view(), timestamp
        return self._view
