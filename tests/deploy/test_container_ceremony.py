"""The ceremony of the runbook's chapter on containers, each line as a process with its own home."""

import asyncio
import shlex
import shutil
from pathlib import Path

import httpx
import pytest
import yaml

from broker.cli.demo.region import policies
from broker.monitoring.unix import asked as unix_asked
from tests.deploy.programs import DEPLOY
from tests.deploy.test_containers import healthy, services, started
from tests.docs.pages import page, shell_lines
from tests.support.commands import Machine
from tests.support.hub import free_port

COMPOSE = ["docker", "compose", "-f", "deploy/compose.yaml"]
AT_HUB, PORT = "tls://hub:4222", free_port()
ASKS = ("directory", "sign")  # a person types the member's name


def ceremony() -> list[list[str]]:
    """The words of each line that runs something in a container, from the service on."""
    chapter = page("runbook.md").split("## Containers\n")[1].split("\n## ")[0]
    lines = [shlex.split(line) for line in shell_lines(chapter)]
    start = [*COMPOSE, "run", "--rm"]
    return [words[len(start) :] for words in lines if words[: len(start)] == start]


@pytest.mark.processes
@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_the_containers_chapter_founds_a_region_and_its_processes_start(
    tmp_path: Path,
) -> None:
    exchange, secret = tmp_path / "exchange", tmp_path / "passphrase"
    exchange.mkdir(mode=0o700)
    for name in ("SG.toml", "MY.toml", "agreement.toml"):
        shutil.copy(policies() / name, exchange)
    secret.write_bytes(b"of a test\n")
    secret.chmod(0o400)
    homes = {name: tmp_path / name for name in services()}
    for home in homes.values():
        home.mkdir(mode=0o700)
    for words in ceremony():
        await asyncio.to_thread(run_line, words, homes, exchange, secret)
    running: list[asyncio.subprocess.Process] = []
    try:
        for name, service in services().items():
            running.append(await started(homes[name], service["command"], secret.read_bytes()))
            async with asyncio.timeout(100):
                while not await healthy(homes[name]):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.5)
        async with asyncio.timeout(60):
            while not await ready(homes["node-my"]):  # noqa: ASYNC110 - it reached the hub
                await asyncio.sleep(0.5)
    finally:
        for process in reversed(running):
            process.terminate()
            async with asyncio.timeout(60):
                assert await process.wait() == 0


async def ready(home: Path) -> bool:
    answer = await asyncio.to_thread(unix_asked, home / "node" / "api.sock", "/readyz")
    return answer is not None and answer[0] == httpx.codes.OK


def run_line(words: list[str], homes: dict[str, Path], exchange: Path, secret: Path) -> None:
    if words[0] == "--entrypoint":
        _, program, service, from_, to = words
        assert program == "cp"
        shutil.copy(within(from_, homes[service], exchange), within(to, homes[service], exchange))
        return
    service, *command = words
    mapped = [within(word, homes[service], exchange) for word in command]
    if "--name" in mapped:
        mapped[mapped.index("--name") + 1] = "localhost"  # no other machine knows it here
        mapped += ["--port", str(PORT)]
    if tuple(command[:2]) == ASKS:
        mapped.append("--yes")
    Machine(homes[service], secret).good(*mapped)


def within(word: str, home: Path, exchange: Path) -> str:
    """A path as the container sees it, where it lies here."""
    if word == AT_HUB:
        return f"tls://localhost:{PORT}"
    for seen, real in (("/exchange", exchange), ("/var/lib/kentong", home)):
        if word.startswith(f"{seen}/"):
            return str(real) + word.removeprefix(seen)
    return word


def test_each_service_has_its_home_and_the_folder_of_the_ceremony() -> None:
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    for words in ceremony():
        service = words[2] if words[0] == "--entrypoint" else words[0]
        assert [each.split(":")[1] for each in whole["services"][service]["volumes"]] == [
            "/var/lib/kentong",
            "/exchange",
        ]
