"""The units start commands that exist, hold what they promise, and systemd finds them tight."""

import asyncio
import re
import shlex
import shutil
import stat
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from broker import clock
from broker.cli.admin.log import found_log
from broker.cli.demo.region import LOG2N
from broker.cli.main import build
from broker.hub.founding import init_hub
from broker.hub.settings import HubConfig
from broker.ledger.place import LedgerConfig
from broker.transport.server import ServerPlace, binary
from tests.deploy.programs import DEPLOY, program, ran
from tests.support.hub import free_port

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXPOSURE = 12  # tenths; a service without any hardening has 96. Raise it only with a reason.
INSTALLED = "/opt/kentong/bin/kentong"
PASSPHRASE = b"of a test"
SYSTEMD = "apt-get install systemd"
SERVER = DEPLOY / "systemd" / "kentong-server.service"  # of NATS, not a command of ours
LOG_WEB = DEPLOY / "systemd" / "kentong-log-web.service"
KEYLESS = {LOG_WEB.name, SERVER.name}  # none that a passphrase opens
HOME = Path("/var/lib/kentong/hub")
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
        "kentong-server.service",
    }


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit != SERVER], ids=lambda unit: unit.name
)
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


def test_the_server_of_a_cluster_starts_in_the_folder_that_was_carried_there(
    tmp_path: Path,
) -> None:
    service = service_of(SERVER)
    place = ServerPlace(tmp_path, 4222, tmp_path / "server.pem", tmp_path / "server.key")
    (line,) = service["ExecStart"]
    assert shlex.split(line) == [
        str(Path(INSTALLED).parent / binary().name),
        "-c",
        place.configuration.name,
    ]
    (state,), (folder,) = service["StateDirectory"], service["WorkingDirectory"]
    assert folder == f"/var/lib/{state}"


async def test_the_log_is_served_where_strangers_find_no_key_and_nothing_else(
    tmp_path: Path,
) -> None:
    """The unit sees an empty folder with two things in it; they are enough."""
    service = service_of(LOG_WEB)
    hidden = Path(service["TemporaryFileSystem"][0].partition(":")[0])
    assert HOME.is_relative_to(hidden)
    seen = {Path(path).relative_to(HOME) for path in service["BindReadOnlyPaths"]}
    assert seen == {Path("log/config.toml"), Path("log/tiles")}
    whole, shown = tmp_path / "hub", tmp_path / "shown"
    whole.mkdir(mode=0o700)
    init_hub(whole, PASSPHRASE, HubConfig(), now=clock.now(), log2n=LOG2N)
    found_log(whole, PASSPHRASE, LedgerConfig(origin="log.example/units"), log2n=LOG2N)
    (whole / "log" / "tiles").mkdir(mode=0o700, exist_ok=True)
    (whole / "log" / "tiles" / "checkpoint").write_bytes(b"a checkpoint")
    (shown / "log").mkdir(parents=True, mode=0o700)
    shutil.copy(whole / "log" / "config.toml", shown / "log")
    shutil.copytree(whole / "log" / "tiles", shown / "log" / "tiles")
    port = str(free_port())
    (line,) = service["ExecStart"]
    words = shlex.split(line)
    words[words.index("--home") + 1], words[words.index("--port") + 1] = str(shown), port
    start = (sys.executable, "-c", "from broker.cli import main; main()", *words[1:])
    serving = await asyncio.create_subprocess_exec(*start, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            assert await once_there(client, f"http://127.0.0.1:{port}/checkpoint") == (
                b"a checkpoint"
            )
    finally:
        serving.terminate()
        await serving.wait()


async def once_there(client: httpx.AsyncClient, url: str) -> bytes:
    while True:
        try:
            return (await client.get(url)).content
        except httpx.TransportError:
            await asyncio.sleep(0.1)


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
        text = text.replace("/opt/kentong/bin/nats-server", str(kentong))
        (tmp_path / unit.name).write_text(text)
    files = [str(tmp_path / unit.name) for unit in UNITS]
    code, said = ran([analyze, "verify", "--man=no", *files])
    assert (code, said) == (0, "")
