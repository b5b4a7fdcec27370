"""The pages for programmers, run as they stand against a real region."""

import asyncio
import base64
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.cli.demo.command import _profile
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Profiles
from tests.support.desks import one_of
from tests.support.processes import running_region

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module")]
DOCS = Path(__file__).parents[2] / "docs"
# RFC 8410: what stands before the seed in the PKCS#8 encoding of an Ed25519 key.
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def region(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoRegion]:
    async with running_region(tmp_path_factory.mktemp("d") / "k") as (made, _, clients):
        profiles = Profiles.load(made.home("SG"))
        profiles.add("desk", _profile(made, "SG"))
        sent = await clients["MY"].send(
            one_of("cyber"),
            to=["SG"],
            status="exercise",
            tlp="amber",
            purposes=["warn"],
            agency="RMP",
        )
        await sent.wait("delivered", timeout_s=60)
        yield made


def blocks(page: str, language: str) -> str:
    text = (DOCS / page).read_text("utf-8")
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return "\n".join(found)


async def ran(words: list[str], folder: Path, **environment: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env={**os.environ, **environment},  # noqa: TID251 - handed on to a child
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return out.decode()


async def test_the_walk_through_with_curl_and_openssl(region: DemoRegion, tmp_path: Path) -> None:
    for tool in ("curl", "openssl", "bash"):
        assert shutil.which(tool), f"install {tool}"
    key = tmp_path / "officer.pem"
    encoded = base64.b64encode(PKCS8 + region.officer("SG").sign_key.seed()).decode()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n")
    script = "set -euo pipefail\n" + blocks("api.md", "sh")
    out = await ran(
        ["bash", "-c", script],
        tmp_path,
        SOCKET=str(region.home("SG") / "node" / "api.sock"),
        TOKEN=region.tokens["SG"],
        KEY=str(key),
    )
    assert int(out.strip().splitlines()[-1]) >= 1
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["member"] == "SG"
    submission = json.loads((tmp_path / "submission.json").read_text())
    assert submission["recipients"][0]["recipient"] == "MY"


async def test_the_program_of_the_sdk_page(region: DemoRegion, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(blocks("sdk.md", "python"))
    desk = {"KENTONG_HOME": str(region.home("SG"))}
    out = await ran([sys.executable, str(program)], tmp_path, **desk)
    assert "MY delivered" in out
    assert "TH" in out
    assert "exercise MY cyber" in out
    async with Client(profile=_profile(region, "SG")) as client:
        assert (await client.cursor("case-system")).position == 1
