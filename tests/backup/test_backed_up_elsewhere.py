"""What a node needs and keeps outside of its folder: it is in the backup, and comes back."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from broker.cli.admin.node_place import NodePlace
from keys.kms import read_kms_settings
from tests.support.commands import Machine

pytestmark = pytest.mark.slow

UNWRAP = '#!/bin/sh\n[ "$(cat)" = "wrapped once" ] && echo "correct horse"\n'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A node whose database is in another folder, and whose passphrase a service gives."""
    home, kms, elsewhere = tmp_path / "SG", tmp_path / "kms", tmp_path / "elsewhere"
    for folder in (home, kms, elsewhere):
        folder.mkdir(mode=0o700)
    (kms / "unwrap").write_text(UNWRAP)
    (kms / "unwrap").chmod(0o700)
    for path, text in (
        (kms / "wrapped", "wrapped once"),
        (home / "kms.toml", f'command = ["{kms / "unwrap"}"]\nwrapped = "{kms / "wrapped"}"\n'),
        (home / "ca.pem", "not read here\n"),
    ):
        path.write_text(text)
        path.chmod(0o600)
    (home / "region").mkdir(mode=0o700)
    (home / "region" / "root.json").write_text("{}")
    machine, ca = Machine(home), str(home / "ca.pem")
    url = f"sqlite+aiosqlite:///{elsewhere / 'x.db'}"
    machine.good("node", "init", "--member", "SG", "--ca", ca, "--database", url)
    machine.good("node", "migrate")
    return machine


def put_back(machine: Machine, tmp_path: Path, *, lost: bool) -> dict[str, object]:
    """Back the node up, lose the machine or the node's folder, and restore; return what is said."""
    backup = tmp_path / "sg.tar"
    machine.good("node", "backup", "--to", str(backup))
    if lost:
        shutil.rmtree(machine.home)
        shutil.rmtree(tmp_path / "kms")
    else:
        shutil.rmtree(machine.home / "node")
    told = machine.good("node", "restore", str(backup), "--json")
    return dict(json.loads(told))


def test_what_a_key_service_needs_comes_back_for_a_person_to_look_at(
    machine: Machine, tmp_path: Path
) -> None:
    program = (tmp_path / "kms" / "unwrap").read_bytes()
    told = put_back(machine, tmp_path, lost=True)
    settings, in_force = machine.home / "restored.kms.toml", machine.home / "kms.toml"
    assert told["kms"] == str(settings)
    assert not in_force.exists()  # nobody signed the backup, and it names a program
    wrapped = Path(read_kms_settings(settings).wrapped)
    assert wrapped.parent == machine.home
    assert wrapped.read_bytes() == b"wrapped once"
    (tmp_path / "kms").mkdir(mode=0o700)  # the service's own command is the machine's
    (tmp_path / "kms" / "unwrap").write_bytes(program)
    (tmp_path / "kms" / "unwrap").chmod(0o700)
    settings.rename(in_force)
    assert '"use"' in machine.good("keys", "list", "--json")


def test_a_wrapped_passphrase_that_is_missing_is_said_and_nothing_is_written(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "kms" / "wrapped").unlink()
    code, _ = machine.refused("node", "backup", "--to", str(tmp_path / "sg.tar"))
    assert code == "no-such-file"
    assert not (tmp_path / "sg.tar").exists()


def test_a_database_elsewhere_comes_back_in_the_nodes_folder(
    machine: Machine, tmp_path: Path
) -> None:
    told = put_back(machine, tmp_path, lost=False)
    place = NodePlace(machine.home)
    assert place.config().database_url == ""
    with closing(sqlite3.connect(place.folder / "node.db")) as database:
        rows = database.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchall()
    assert rows == [(str(told["incarnation"]),)]
    with closing(sqlite3.connect(tmp_path / "elsewhere" / "x.db")) as database:
        rows = database.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchall()
    assert rows == []  # the old one is as it was
