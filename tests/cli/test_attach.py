"""A file from one officer to another, by the commands alone, through real processes."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.cli.demo.command import _profile
from broker.cli.demo.region import DemoRegion
from broker.cli.requests import template
from broker.client import Profiles
from tests.support.attachments import a_file
from tests.support.processes import running_region

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def region(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoRegion]:
    async with running_region(tmp_path_factory.mktemp("d") / "k") as (made, _, _clients):
        for code in ("SG", "MY"):
            Profiles.load(made.home(code)).add("desk", _profile(made, code))
        yield made


def ran(region: DemoRegion, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    start = "from broker.cli import main; main()"
    home = str(region.home(code))
    return subprocess.run(
        [sys.executable, "-c", start, "--home", home, *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=dict(os.environ),  # noqa: TID251 - handed on to a child
    )


async def test_send_attach_and_show_attachment(region: DemoRegion, tmp_path: Path) -> None:
    film = tmp_path / "film.bin"
    film.write_bytes(a_file(5))
    alert = tmp_path / "alert.yaml"
    alert.write_text(template("cyber", clock.now().date()))
    sent = ran(region, "SG", "send", str(alert), "--attach", str(film), "--yes", "--json")
    assert sent.returncode == 0, sent.stderr
    assert "film.bin: " in sent.stderr  # plain lines in a pipe
    envelope = json.loads(sent.stdout)["submission"]["id"]
    out = tmp_path / "out.bin"
    words = ("show", envelope, "--attachment", "1", "--out", str(out))
    for _ in range(20):
        got = ran(region, "MY", *words)
        if got.returncode == 0:
            break
        assert "not-found" in got.stderr or "arriving" in got.stderr, got.stderr
    assert out.read_bytes() == film.read_bytes()
    assert not (tmp_path / "out.bin.part").exists()
    shown = ran(region, "MY", "show", envelope)
    assert "1  film.bin, application/octet-stream" in shown.stdout
    again = ran(region, "MY", *words)
    assert again.returncode != 0
    assert "exists" in again.stderr or "already" in again.stderr
