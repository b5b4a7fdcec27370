"""The units start commands that exist, hold what they promise, and systemd finds them tight."""

import re
import shlex
import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.main import build
from tests.deploy.programs import DEPLOY, program, ran

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXPOSURE = 12  # tenths; a service without any hardening has 96. Raise it only with a reason.
INSTALLED = "/opt/kentong/bin/kentong"
SYSTEMD = "apt-get install systemd"
KEYLESS = {"kentong-log-web.service"}
# What every process of ours denies itself; docs/threat-model.md names it.
PROMISED = {
    "LimitCORE": "0",
    "MemorySwapMax": "0",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "UMask": "0077",
    "CapabilityBoundingSet": "",
    "MemoryDenyWriteExecute": "yes",
}


def service_of(unit: Path) -> dict[str, list[str]]:
    """The section [Service]; a name may come several times."""
    found: dict[str, list[str]] = {}
    section = unit.read_text("utf-8").split("[Service]")[1].split("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_there_is_a_unit_for_each_long_lived_part() -> None:
    assert {unit.name for unit in UNITS} == {
        "kentong-hub.service",
        "kentong-log.service",
        "kentong-log-web.service",
        "kentong-node@.service",
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_starts_a_command_that_exists(unit: Path) -> None:
    (line,) = service_of(unit)["ExecStart"]
    program_, home, folder, name, sub, *options = shlex.split(line)
    assert (program_, home) == (INSTALLED, "--home")
    assert folder.startswith("/var/lib/kentong/")
    shown = CliRunner().invoke(build(chosen=name), [name, sub, "--help"])
    assert shown.exit_code == 0, shown.output
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    for option in options:
        assert not option.startswith("-") or option in text, option


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_keeps_the_promises(unit: Path) -> None:
    service = service_of(unit)
    assert {name: service[name] for name in PROMISED} == {
        name: [value] for name, value in PROMISED.items()
    }
    assert service["User"][0] not in {"root", "nobody"}
    assert ("LoadCredential" in service) == (unit.name not in KEYLESS)
    assert not any("passphrase" in value.lower() for value in service.get("Environment", ()))
    if unit.name in KEYLESS:
        assert "keys" in service["InaccessiblePaths"][0]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_the_unit_tight(unit: Path) -> None:
    analyze = program("systemd-analyze", how=SYSTEMD)
    bound = f"--threshold={EXPOSURE}"
    code, said = ran([analyze, "security", "--offline=true", "--no-pager", bound, str(unit)])
    assert code == 0, said
    exposure = re.search(r"Overall exposure level for \S+: (\d+)\.(\d)", said)
    assert exposure, said
    assert int(exposure[1]) * 10 + int(exposure[2]) <= EXPOSURE


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", how=SYSTEMD)
    kentong = tmp_path / "kentong"
    kentong.write_text(f"#!{sys.executable}\n")
    kentong.chmod(kentong.stat().st_mode | stat.S_IXUSR)
    for unit in UNITS:
        text = unit.read_text("utf-8").replace(INSTALLED, str(kentong))
        (tmp_path / unit.name).write_text(text)
    files = [str(tmp_path / unit.name) for unit in UNITS]
    code, said = ran([analyze, "verify", "--man=no", *files])
    assert (code, said) == (0, "")
