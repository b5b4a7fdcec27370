"""A finished file gets its name, and never the place of another."""

import os
import tempfile
from pathlib import Path

import pytest

from keys.files import give_name

LINKS_PROTECTED = Path("/proc/sys/fs/protected_hardlinks")
NOBODY = 65534


def test_it_takes_a_free_place_and_no_other(tmp_path: Path) -> None:
    whole, path = tmp_path / "a.part", tmp_path / "a"
    whole.write_bytes(b"whole")
    give_name(whole, path)
    assert (path.read_bytes(), whole.exists()) == (b"whole", False)
    whole.write_bytes(b"another")
    with pytest.raises(FileExistsError):
        give_name(whole, path)
    assert (path.read_bytes(), whole.read_bytes()) == (b"whole", b"another")


def unlinked(folder: Path) -> int:
    """As somebody whom the kernel lets link no file of this owner; return what went wrong."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                os.link(folder / "a.part", folder / "link")
            except PermissionError:
                give_name(folder / "a.part", folder / "a")
                os._exit(0)
        except FileExistsError:
            os._exit(1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(
    os.geteuid() != 0
    or not LINKS_PROTECTED.exists()
    or LINKS_PROTECTED.read_text("ascii") == "0\n",
    reason="only root can be another user here, whom a kernel of Linux lets link nothing",
)
def test_where_nothing_can_be_linked_it_takes_a_free_place_and_no_other() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, path = folder / "a.part", folder / "a"
        whole.write_bytes(b"whole")
        os.chown(folder, NOBODY, NOBODY)
        assert unlinked(folder) == 0
        assert (path.read_bytes(), whole.exists()) == (b"whole", False)
        whole.write_bytes(b"another")
        assert unlinked(folder) == 1
        assert (path.read_bytes(), whole.read_bytes()) == (b"whole", b"another")
