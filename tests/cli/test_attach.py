"""A file from one officer to another, by the commands alone, through real processes."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
import pytest_asyncio

from broker import clock
from broker.cli.demo.command import _profile
from broker.cli.demo.region import DemoRegion
from broker.cli.requests import template
from broker.client import Client, NotFound
from tests.support.attachments import a_file
from tests.support.officers import write_profiles
from tests.support.processes import running_region

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def region(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoRegion]:
    folder = tmp_path_factory.mktemp("d") / "k"
    async with running_region(folder, prepare=write_profiles) as (made, _, _):
        yield made


class Ran(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


async def ran(region: DemoRegion, member: str, *words: str) -> Ran:
    start = "from broker.cli import main; main()"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start, "--home", str(region.home(member)), *words),
        env=dict(os.environ),  # noqa: TID251 - handed on to a child
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await child.communicate()
    assert child.returncode is not None
    return Ran(child.returncode, out.decode(), err.decode())


async def test_send_attach_and_show_attachment(region: DemoRegion, tmp_path: Path) -> None:
    film = tmp_path / "film.bin"
    film.write_bytes(a_file(5))
    alert = tmp_path / "alert.yaml"
    alert.write_text(template("cyber", clock.now().date()))
    sent = await ran(region, "SG", "send", str(alert), "--attach", str(film), "--yes", "--json")
    assert sent.code == 0, sent.err
    assert "film.bin: " in sent.err  # plain lines in a pipe
    envelope = json.loads(sent.out)["submission"]["id"]
    out = tmp_path / "out.bin"
    words = ("show", envelope, "--attachment", "1", "--out", str(out))
    for _ in range(20):
        got = await ran(region, "MY", *words)
        if got.code == 0:
            break
        assert "not-found" in got.err or "arriving" in got.err, got.err
    assert out.read_bytes() == film.read_bytes()
    assert not (tmp_path / "out.bin.part").exists()
    shown = await ran(region, "MY", "show", envelope)
    assert "1  film.bin, application/octet-stream" in shown.out
    again = await ran(region, "MY", *words)
    assert again.code != 0
    assert "exists" in again.err or "already" in again.err


async def test_a_file_that_no_alert_took_is_listed_and_taken_back(
    region: DemoRegion, tmp_path: Path
) -> None:
    film = tmp_path / "left.bin"
    film.write_bytes(a_file(2))
    async with Client(profile=_profile(region, "SG")) as desk:
        file = await desk.attach(film)
        ident = str(file.attachment_id)
        listed = await ran(region, "SG", "draft", "files", "--json")
        assert [each["attachment_id"] for each in json.loads(listed.out)["files"]] == [ident]
        assert "left.bin" in (await ran(region, "SG", "draft", "files")).out
        gone = await ran(region, "SG", "draft", "withdraw", ident)
        assert (gone.code, gone.out) == (0, f"{ident} is gone.\n")
        assert "No files." in (await ran(region, "SG", "draft", "files")).out
        again = await ran(region, "SG", "draft", "withdraw", ident)
        assert (again.code, "not-found" in again.err) == (1, True)
        with pytest.raises(NotFound):
            await desk.withdraw_attachment(UUID(ident))
