"""`kentong hub` as a person runs it: real processes, real keys, gateway workers included."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker import clock
from broker.hub.place import HubPlace
from keys.directory.founding import Founder, found_region
from keys.keystore import FLOOR_LOG2N
from schemas.directory import HubDocument, parse_toml_document
from tests.support.hub import BOUND_S, free_port

pytestmark = [pytest.mark.hub, pytest.mark.processes, pytest.mark.slow]

PASS = b"correct horse"
POLICIES = Path(__file__).parent.parent.parent / "deploy" / "policies"
KENTONG = (sys.executable, "-c", "from broker.cli import main; main()")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    file = tmp_path / "passphrase"
    file.write_bytes(PASS)
    file.chmod(0o600)
    return tmp_path


@asynccontextmanager
async def started(home: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *KENTONG,
        "--home",
        str(home),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "KENTONG_PASSPHRASE_FILE": str(home / "passphrase"),
            "KENTONG_SCRYPT_LOG2N": str(FLOOR_LOG2N),
            "LANG": "C.UTF-8",
        },
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def kentong(home: Path, *words: str) -> tuple[int | None, dict[str, Any], str]:
    async with asyncio.timeout(BOUND_S), started(home, *words) as child:
        out, error = await child.communicate()
    told = json.loads(out) if out.startswith(b"{") else {}
    return child.returncode, told, error.decode()


def found(home: Path) -> None:
    hub = HubPlace(home)
    document = parse_toml_document(HubDocument, hub.hub_document.read_bytes())
    found_region(
        [
            Founder(code, home / code, (POLICIES / f"{code}.toml").read_bytes())
            for code in ("MY", "SG")
        ],
        hub_home=home,
        hub=document,
        agreement=(POLICIES / "agreement.toml").read_bytes(),
        passphrase=PASS,
        now=clock.now(),
        log2n=FLOOR_LOG2N,
    )


async def test_a_hub_is_made_run_watched_and_stopped(home: Path) -> None:
    port = str(free_port())
    code, made, error = await kentong(home, "hub", "init", "--port", port, "--small", "--json")
    assert (code, error) == (0, "")
    assert (made["schema"], made["url"]) == ("kentong/hub-init/1", f"tls://localhost:{port}")
    found(home)
    code, status, _ = await kentong(home, "hub", "status", "--json")
    assert (code, status["running"]) == (1, False)
    async with asyncio.timeout(3 * BOUND_S), started(home, "hub", "run", "--json") as hub:
        assert hub.stdout is not None
        ready = json.loads(await hub.stdout.readline())
        assert ready["members"] == ["MY", "SG"]
        code, status, _ = await kentong(home, "hub", "status", "--json")
        assert (code, status["running"], status["directory_problem"]) == (0, True, "")
        assert hub.stderr is not None
        async for line in hub.stderr:
            said = json.loads(line)
            if said["event"] == "serving" and said["process"] == "gateway-1":
                break
        hub.send_signal(signal.SIGTERM)
        _, rest = await hub.communicate()
        assert hub.returncode == 0
        assert b"Traceback" not in rest
    code, status, _ = await kentong(home, "hub", "status", "--json")
    assert (code, status["running"]) == (1, False)


def runs(pid: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except FileNotFoundError:
        return False


async def test_a_killed_hub_leaves_nothing_running_and_starts_again(home: Path) -> None:
    await kentong(home, "hub", "init", "--port", str(free_port()), "--small", "--json")
    found(home)
    servers: list[int] = []
    async with asyncio.timeout(4 * BOUND_S):
        for _ in range(2):
            async with started(home, "hub", "run", "--json", "--gateways", "0") as hub:
                assert hub.stdout is not None
                assert json.loads(await hub.stdout.readline())["ok"]
                state = json.loads(HubPlace(home).state_file.read_bytes())
                servers.append(state["server_pid"])
                assert runs(servers[-1])
                hub.kill()
    assert len(set(servers)) == 2
    assert not runs(servers[0])


async def test_a_connection_is_suspended_once_and_resumed(home: Path) -> None:
    await kentong(home, "hub", "init", "--port", str(free_port()), "--small", "--json")
    found(home)
    code, said, _ = await kentong(home, "hub", "suspend", "MY", "--reason", "stolen", "--json")
    assert (code, said["member"]) == (0, "MY")
    code, _, error = await kentong(home, "hub", "suspend", "MY", "--reason", "again", "--json")
    assert code == 1
    assert "[suspended-already]" in error
    code, _, error = await kentong(home, "hub", "suspend", "XX", "--reason", "who", "--json")
    assert "[unknown-member]" in error
    _, status, _ = await kentong(home, "hub", "status", "--json")
    assert status["suspended"] == ["MY"]
    code, _, _ = await kentong(home, "hub", "resume", "MY", "--json")
    assert code == 0
    _, status, _ = await kentong(home, "hub", "status", "--json")
    assert status["suspended"] == []


async def test_a_command_without_a_hub_says_what_to_do(home: Path) -> None:
    code, _, error = await kentong(home, "hub", "status")
    assert code == 1
    assert "kentong hub init" in error


async def test_a_cluster_is_written_folder_by_folder_and_written_again(home: Path) -> None:
    servers = [f"{name}=127.0.0.1:{free_port()}:{free_port()}" for name in ("a", "b", "c")]
    words = [word for server in servers for word in ("--cluster", server)]
    code, told, error = await kentong(home, "hub", "init", "--small", *words, "--json")
    assert code == 0, error
    assert told["url"].count("tls://127.0.0.1:") == 3
    place = HubPlace(home)
    certificates = set()
    for name, folder in zip("abc", told["servers"], strict=True):
        settings = json.loads((Path(folder) / "nats.conf").read_text())
        assert settings["server_name"] == name
        assert len(settings["cluster"]["routes"]) == 2
        assert settings["cluster"]["tls"]["verify"] is True
        assert (Path(folder) / "server.key").stat().st_mode & 0o077 == 0
        certificates.add((Path(folder) / "server.pem").read_bytes())
    assert len(certificates) == 3
    assert place.config().sizes().replicas == 3
    code, _, error = await kentong(home, "hub", "server-config")
    assert code == 0, error
    assert (Path(told["servers"][0]) / "server.pem").read_bytes() not in certificates


@pytest.mark.parametrize(
    ("servers", "code"),
    [
        (["a=h:1:2", "b=h:3:4"], 1),  # an even number decides nothing
        (["a=h:1:2", "a=h:3:4", "c=h:5:6"], 1),  # one name twice
        (["a=h:1", "b=h:3:4", "c=h:5:6"], 2),
        (["a=h:x:2", "b=h:3:4", "c=h:5:6"], 2),
        (["=h:1:2", "b=h:3:4", "c=h:5:6"], 2),
    ],
)
async def test_a_cluster_that_cannot_be_is_refused_and_nothing_is_made(
    home: Path, servers: list[str], code: int
) -> None:
    words = [word for server in servers for word in ("--cluster", server)]
    async with asyncio.timeout(BOUND_S), started(home, "hub", "init", *words) as child:
        _, error = await child.communicate()
    assert child.returncode == code, error
    assert not (home / "hub").exists()
