"""Key stores that are cheap to open: the floor of scrypt, and few of them."""

from pathlib import Path

import pytest

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder that only this user may enter."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder
