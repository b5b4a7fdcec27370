"""Where things lie under a home folder (KENTONG_HOME). One machine seldom holds all of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keys.errors import KeyFileError
from keys.files import make_private_folder, replace_file

_MAX_ROOT_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Home:
    """The places that keys and the directory have in one home folder."""

    folder: Path

    @property
    def root_file(self) -> Path:
        """The region's first root, which this machine trusts."""
        return self.folder / "region" / "root.json"

    @property
    def directory(self) -> Path:
        """The published directory, at the hub."""
        return self.folder / "hub" / "directory"

    @property
    def hub_keys(self) -> Path:
        """The hub's key stores."""
        return self.folder / "hub" / "keys"

    @property
    def node_keys(self) -> Path:
        """The node's key store."""
        return self.folder / "node" / "keys"

    @property
    def node_directory(self) -> Path:
        """The node's verified copy of the directory."""
        return self.folder / "node" / "directory"

    @property
    def kms_file(self) -> Path:
        """How a key management service gives the passphrase, if one does."""
        return self.folder / "kms.toml"

    def ministry(self, member: str) -> Path:
        """The folder of a member's directory signing key, on the ministry's machine."""
        return self.folder / "member" / member

    def officer(self, officer_id: str) -> Path:
        """The key store of an officer, at the desk."""
        return self.folder / "officers" / f"{officer_id}.keystore"

    def pinned_root(self) -> bytes:
        """Return the root that this machine trusts.

        Raises:
            KeyFileError: It was not put there yet.
        """
        try:
            with self.root_file.open("rb") as file:
                return file.read(_MAX_ROOT_BYTES)
        except OSError as error:
            raise KeyFileError(
                "no-root", f"{self.root_file} is missing: get the region's root, check its print"
            ) from error

    def pin_root(self, raw: bytes) -> None:
        """Trust this root from now on.

        Raises:
            KeyFileError: Another one is trusted already, or it cannot be written.
        """
        make_private_folder(self.root_file.parent)
        if self.root_file.exists():
            if self.pinned_root() != raw:
                raise KeyFileError("other-root", f"{self.root_file} holds another region's root")
            return
        try:
            replace_file(self.root_file, raw)
        except OSError as error:
            raise KeyFileError("cannot-write", f"{self.root_file} cannot be written") from error
