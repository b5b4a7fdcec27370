"""Key stores: round trips, loose modes, wrong passphrases, damage, crashes while writing."""

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import files
from keys.errors import KeyFileError, KeysError
from keys.keystore import FLOOR_LOG2N, MAGIC, Entry, KeyStore
from keys.passphrase import read_passphrase
from schemas import canonical

PASS = b"correct horse battery staple"
SECRET = b"a secret of thirty-two bytes ...."[:32]
ONE = {"node/signing": Entry("ed25519", SECRET, {"made": "2026-11-01"})}


@pytest.fixture
def store(private: Path) -> KeyStore:
    return KeyStore.create(private / "node.keystore", PASS, ONE, log2n=FLOOR_LOG2N)


def _refused(code: str) -> "pytest.RaisesExc[KeyFileError]":
    return pytest.RaisesExc(KeyFileError, check=lambda error: error.code == code)


def test_what_was_kept_comes_back(store: KeyStore) -> None:
    assert dict(KeyStore.open(store.path, PASS).entries) == ONE
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert SECRET not in store.path.read_bytes()


def test_a_store_and_its_entries_are_silent(store: KeyStore) -> None:
    assert "secret" not in repr(store) + repr(store.get("node/signing", "ed25519"))
    assert repr(SECRET) not in repr(dict(store.entries))


def test_a_wrong_passphrase_is_told_from_a_damaged_file(store: KeyStore) -> None:
    with _refused("wrong-passphrase"):
        KeyStore.open(store.path, b"wrong")
    raw = bytearray(store.path.read_bytes())
    raw[-1] ^= 1
    store.path.write_bytes(bytes(raw))
    with _refused("damaged"):
        KeyStore.open(store.path, PASS)


def test_a_store_is_never_made_over_another(store: KeyStore) -> None:
    with _refused("exists"):
        KeyStore.create(store.path, PASS, {}, log2n=FLOOR_LOG2N)


def test_changes_of_two_processes_do_not_undo_each_other(store: KeyStore) -> None:
    other = KeyStore.open(store.path, PASS)
    store.change({"storage": Entry("symmetric", bytes(32))})
    other.change({"account": Entry("ed25519", bytes(32))})
    store.reload()
    assert set(store.entries) == {"node/signing", "storage", "account"}


def test_a_destroyed_key_is_gone_and_its_old_bytes_are_overwritten(
    store: KeyStore, private: Path
) -> None:
    link = private / "still-open"
    os.link(store.path, link)
    store.change(destroy=["node/signing"])
    assert dict(KeyStore.open(store.path, PASS).entries) == {}
    assert not any(link.read_bytes())
    with _refused("no-such-key"):
        store.change(destroy=["node/signing"])
    with _refused("no-such-key"):
        store.get("node/signing", "ed25519")


LEFT = ".node.keystore.0123456789ab"  # as a process leaves it that is killed before it renames


@pytest.mark.parametrize("at", ["the change", "the next opening"])
def test_a_destroyed_key_is_not_in_what_a_killed_process_left_either(
    store: KeyStore, private: Path, at: str
) -> None:
    left = private / LEFT
    if at == "the change":
        left.write_bytes(store.path.read_bytes())
    else:
        whole = store.path.read_bytes()
        store.change(destroy=["node/signing"])
        left.write_bytes(whole)
    with left.open("rb") as still_open:
        if at == "the change":
            store.change(destroy=["node/signing"])
        else:
            KeyStore.open(store.path, PASS)
        assert not any(still_open.read())
    assert {path.name for path in private.iterdir()} == {"node.keystore", ".node.keystore.lock"}


def test_what_another_process_writes_at_this_moment_stays(store: KeyStore, private: Path) -> None:
    left = private / LEFT
    left.write_bytes(b"half")
    with left.open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        KeyStore.open(store.path, PASS)
        assert left.read_bytes() == b"half"
    KeyStore.open(store.path, PASS)
    assert not left.exists()


def test_a_file_that_has_its_place_already_is_not_erased_with_its_first_name(private: Path) -> None:
    placed = private / "placed"
    placed.write_bytes(b"whole")
    os.link(placed, private / ".placed.0123456789ab")
    files.erase_halves(placed)
    assert [path.name for path in private.iterdir()] == ["placed"]
    assert placed.read_bytes() == b"whole"


def test_another_files_halves_and_odd_names_stay(private: Path) -> None:
    names = {".b.0123456789ab", ".a.0123456789", ".a.lock", "a.0123456789ab", ".a.0123456789AB"}
    for name in names:
        (private / name).touch()
    files.erase_halves(private / "a")
    assert {path.name for path in private.iterdir()} == names


def test_under_another_passphrase_the_keys_are_the_same_and_the_old_one_opens_nothing(
    store: KeyStore,
) -> None:
    kept, other = dict(store.entries), KeyStore.open(store.path, PASS)
    copy = store.path.with_name("held.keystore")
    os.link(store.path, copy)  # the file's old bytes, as a lost handle would still reach them
    store.rewrap(b"another horse", log2n=FLOOR_LOG2N)
    assert dict(KeyStore.open(store.path, b"another horse").entries) == kept
    with pytest.raises(KeyFileError) as caught:
        KeyStore.open(store.path, PASS)
    assert caught.value.code == "wrong-passphrase"
    assert not any(copy.read_bytes())
    with pytest.raises(KeyFileError) as caught:  # a process that runs is told, and undoes nothing
        other.change({"late": Entry("symmetric", bytes(32))})
    assert caught.value.code == "changed"
    store.change({"storage": Entry("symmetric", bytes(32))})
    assert "storage" in KeyStore.open(store.path, b"another horse").entries


def test_a_key_of_another_kind_is_not_given(store: KeyStore) -> None:
    with _refused("no-such-key"):
        store.get("node/signing", "symmetric")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777, 0o620])
def test_a_file_open_to_others_is_refused(store: KeyStore, mode: int) -> None:
    store.path.chmod(mode)
    with _refused("too-open"):
        KeyStore.open(store.path, PASS)
    with _refused("too-open"):
        store.change({"x": Entry("symmetric", bytes(32))})


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711, 0o777])
def test_a_folder_open_to_others_is_refused(store: KeyStore, mode: int) -> None:
    store.path.parent.chmod(mode)
    with _refused("too-open"):
        KeyStore.open(store.path, PASS)
    with _refused("too-open"):
        KeyStore.create(store.path.with_name("new"), PASS, {}, log2n=FLOOR_LOG2N)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(store: KeyStore) -> None:
    os.chown(store.path, 65534, -1)
    with _refused("wrong-owner"):
        KeyStore.open(store.path, PASS)
    os.chown(store.path, os.geteuid(), -1)
    os.chown(store.path.parent, 65534, -1)
    with _refused("wrong-owner"):
        KeyStore.open(store.path, PASS)


def test_a_link_a_folder_and_nothing_are_no_stores(store: KeyStore, private: Path) -> None:
    link = private / "link"
    link.symlink_to(store.path)
    with _refused("unreadable"):
        KeyStore.open(link, PASS)
    (private / "folder").mkdir(mode=0o700)
    with _refused("unreadable"):
        KeyStore.open(private / "folder", PASS)
    with _refused("no-such-file"):
        KeyStore.open(private / "nothing", PASS)


def _rewrite(path: Path, **changes: canonical.Value) -> None:
    outer = canonical.decode(path.read_bytes()[len(MAGIC) :], max_bytes=10_000)
    assert isinstance(outer, list)
    header = outer[1]
    assert isinstance(header, dict)
    outer[1] = {**header, **changes}
    path.write_bytes(MAGIC + canonical.encode(outer))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"log2n": 14}, "bad-parameters"),
        ({"log2n": 21}, "bad-parameters"),
        ({"log2n": 2**40}, "bad-parameters"),
        ({"log2n": True}, "bad-parameters"),
        ({"log2n": "17"}, "damaged"),
        ({"r": 2**30}, "bad-parameters"),
        ({"p": 2**20}, "bad-parameters"),
        ({"kdf": "pbkdf2"}, "bad-parameters"),
        ({"salt": None}, "damaged"),
        ({"check": b""}, "wrong-passphrase"),
        ({"more": 1}, "damaged"),
    ],
)
def test_a_hostile_header_is_refused_before_it_costs_anything(
    store: KeyStore, changes: dict[str, canonical.Value], code: str
) -> None:
    _rewrite(store.path, **changes)
    with _refused(code):
        KeyStore.open(store.path, PASS)


def test_another_version_is_named_as_such(store: KeyStore) -> None:
    store.path.write_bytes(MAGIC + canonical.encode([2, "anything"]))
    with _refused("unknown-version"):
        KeyStore.open(store.path, PASS)


def test_an_oversized_file_is_not_read(store: KeyStore) -> None:
    with store.path.open("ab") as file:
        file.write(bytes(2 * 1024 * 1024))
    with _refused("too-large"):
        KeyStore.open(store.path, PASS)


@pytest.mark.parametrize("name", ["", "UPPER", "../x y", "a" * 65, "ünder"])
def test_a_bad_name_is_refused(store: KeyStore, name: str) -> None:
    with _refused("bad-name"):
        store.change({name: Entry("symmetric", bytes(32))})


@given(raw=st.binary(max_size=200), magic=st.booleans())
def test_any_bytes_are_a_store_or_a_keys_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, *, magic: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    folder.chmod(0o700)
    path = folder / "any.keystore"
    path.write_bytes((MAGIC if magic else b"") + raw)
    path.chmod(0o600)
    with pytest.raises(KeysError):
        KeyStore.open(path, PASS)


@pytest.mark.parametrize(("where", "landed"), [("rename", False), ("fsync", False), ("dir", True)])
def test_a_crash_while_writing_leaves_the_old_store_or_the_new(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, where: str, *, landed: bool
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        if where == "rename":
            broken.setattr(Path, "rename", fail)
        elif where == "fsync":
            broken.setattr(files.os, "fsync", fail)
        else:
            broken.setattr(files, "sync_folder", fail)
        with _refused("cannot-write"):
            store.change({"storage": Entry("symmetric", bytes(32))})
    again = KeyStore.open(store.path, PASS)
    assert ("storage" in again.entries) is landed
    left = {path.name for path in store.path.parent.iterdir()}
    assert left == {"node.keystore", ".node.keystore.lock"}


def test_a_passphrase_is_the_first_line_of_a_private_file(private: Path) -> None:
    path = private / "passphrase"
    path.write_bytes(b"one two\r\nthree\n")
    path.chmod(0o600)
    assert read_passphrase(path) == b"one two"
    path.write_bytes(b"\nthree\n")
    with _refused("bad-passphrase"):
        read_passphrase(path)
    path.chmod(0o644)
    with _refused("too-open"):
        read_passphrase(path)
