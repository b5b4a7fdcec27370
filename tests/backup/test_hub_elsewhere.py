"""What a hub needs and keeps outside of its folder: it is in the backup, or said to be missing."""

import json
import shutil
from pathlib import Path

import pytest

from broker.cli.demo.region import DemoRegion, found
from keys.kms import read_kms_settings
from tests.support.commands import Machine

pytestmark = pytest.mark.slow

UNWRAP = '#!/bin/sh\n[ "$(cat)" = "wrapped once" ] && echo "{}"\n'


@pytest.fixture
def region(tmp_path: Path) -> DemoRegion:
    return found(tmp_path / "r", log=True)


def with_key_service(region: DemoRegion, folder: Path) -> Machine:
    """The hub's machine, whose passphrase a service gives out of `folder`."""
    folder.mkdir(mode=0o700)
    settings = f'command = ["{folder / "unwrap"}"]\nwrapped = "{folder / "wrapped"}"\n'
    for path, text, mode in (
        (folder / "unwrap", UNWRAP.format(region.passphrase_file.read_text().strip()), 0o700),
        (folder / "wrapped", "wrapped once", 0o600),
        (region.hub / "kms.toml", settings, 0o600),
    ):
        path.write_text(text)
        path.chmod(mode)
    return Machine(region.hub)


def test_what_a_key_service_needs_comes_back_for_a_person_to_look_at(
    region: DemoRegion, tmp_path: Path
) -> None:
    service, kept = tmp_path / "kms", tmp_path / "hub.tar"
    machine = with_key_service(region, service)
    program = (service / "unwrap").read_bytes()
    machine.good("hub", "backup", "--to", str(kept))
    shutil.rmtree(machine.home)
    shutil.rmtree(service)
    told = json.loads(machine.good("hub", "restore", str(kept), "--json"))
    settings, in_force = machine.home / "restored.kms.toml", machine.home / "kms.toml"
    assert told["kms"] == str(settings)
    assert not in_force.exists()  # nobody signed the backup, and it names a program
    wrapped = Path(read_kms_settings(settings).wrapped)
    assert (wrapped.parent, wrapped.read_bytes()) == (machine.home, b"wrapped once")
    service.mkdir(mode=0o700)  # the service's own command is the machine's
    (service / "unwrap").write_bytes(program)
    (service / "unwrap").chmod(0o700)
    rekey = ("hub", "rekey", "--gateway", "--out", str(tmp_path / "rekey.json"))
    assert machine.refused(*rekey)[0] == "no-passphrase"
    settings.rename(in_force)
    machine.good(*rekey)


def test_a_wrapped_passphrase_that_is_missing_is_said_and_nothing_is_written(
    region: DemoRegion, tmp_path: Path
) -> None:
    machine, kept = with_key_service(region, tmp_path / "kms"), tmp_path / "hub.tar"
    (tmp_path / "kms" / "wrapped").unlink()
    assert machine.refused("hub", "backup", "--to", str(kept))[0] == "no-such-file"
    assert not kept.exists()
