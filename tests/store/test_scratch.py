"""Folders in which backups are made: gone in the end and after a kill, and never before."""

from pathlib import Path

import pytest

from broker.store.errors import StoreError
from broker.store.scratch import BACKUP, RESTORE, remove_unused, scratch_folder


def leave(within: Path, name: str) -> Path:
    """What a process leaves that is killed while it makes a backup."""
    left = within / name
    (left / "home").mkdir(parents=True)
    (left / "home" / "node.db").write_bytes(b"alerts that are erased by now")
    return left


def test_a_folder_is_for_this_user_alone_and_goes_in_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, BACKUP) as scratch:
        assert scratch.stat().st_mode & 0o077 == 0
        (scratch / "node.db").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".backup-k3j2h1", ".restore-4711"])
def test_what_a_killed_one_left_goes_before_the_next_and_at_a_start(
    tmp_path: Path, name: str
) -> None:
    left = leave(tmp_path, name)
    with scratch_folder(tmp_path, RESTORE):
        assert not left.exists()
    left = leave(tmp_path, name)
    remove_unused(tmp_path, tmp_path / "is-not-there")
    assert not left.exists()


def test_nothing_goes_while_a_backup_is_made(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, BACKUP) as first, scratch_folder(tmp_path, BACKUP) as second:
        remove_unused(tmp_path)
        assert first.exists()
        assert second.exists()


def test_other_names_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".backup-link").symlink_to(tmp_path / "kept")
    remove_unused(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kept", ".backup-link"}


def test_where_no_folder_can_be_looked_into_a_backup_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, check=lambda error: error.code == "disk-failed"),
        scratch_folder(tmp_path / "is-not-there", BACKUP),
    ):
        pass
