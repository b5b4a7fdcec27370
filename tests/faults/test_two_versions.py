"""Two versions side by side in one region, as an upgrade has them for a day.

There is no second release yet. So the other version is this tree with its number raised and one
content schema that the present one does not know: a wheel, installed beside.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.cli.demo.region import LOG2N, DemoRegion
from broker.client import Client
from schemas.desk import RecipientState
from tests.support.alerts import every_alert
from tests.support.processes import running_region, warning
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
START = "from broker.cli import main; main()"
COUNT = 12
NEXT = "0.2.0"


def built_next(folder: Path) -> Path:
    """The next version, installed in a folder of its own."""
    tree, wheels, target = folder / "tree", folder / "wheels", folder / "next"
    tree.mkdir()
    for name in ("broker", "schemas", "keys", "deploy"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'version = "0.1.0"' in text
    (tree / "pyproject.toml").write_text(text.replace('version = "0.1.0"', f'version = "{NEXT}"'))
    schema = tree / "schemas" / "drugs.py"
    text = schema.read_text("utf-8")
    assert "    VERSION: ClassVar[int] = 1\n" in text
    newer = "    VERSION: ClassVar[int] = 2\n    batch_mark: str | None = None\n"
    schema.write_text(text.replace("    VERSION: ClassVar[int] = 1\n", newer), "utf-8")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    for command in (
        (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)),
        (*pip, "install", "--no-deps", "--no-index", "--target", str(target), "--find-links",
         str(wheels), "kentong"),
    ):  # fmt: skip
        done = subprocess.run(  # noqa: S603 - our own
            command, cwd=tree, capture_output=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stderr
    return target


@asynccontextmanager
async def worker(region: DemoRegion, installed: Path) -> AsyncIterator[Path]:
    """A gateway worker of another version; gives its log."""
    log = region.folder / "next-worker.log"
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", START, "gateway", "run", "--worker", "101"),
            env={
                **os.environ,  # noqa: TID251 - handed on to a child
                **beside(installed),
                "KENTONG_HOME": str(region.hub),
                "KENTONG_PASSPHRASE_FILE": str(region.passphrase_file),
                "KENTONG_SCRYPT_LOG2N": str(LOG2N),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield log
    finally:
        process.terminate()
        await process.wait()


def beside(installed: Path) -> dict[str, str]:
    """What lets a process import the other version, and not the tree in which the test runs."""
    return {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}


async def told_of(installed: Path) -> str:
    """Where the other version is, and what it reads."""
    code = "import broker; from schemas.registry import reads; print(broker.__file__, reads())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env={**os.environ, **beside(installed)},  # noqa: TID251 - handed on to a child
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


async def inbox(client: Client) -> Counter[str]:
    return Counter(str(item.alert_id) for item in (await client.inbox(limit=200)).items)


async def test_alerts_pass_between_two_versions_and_what_one_does_not_know_is_refused(
    tmp_path: Path,
) -> None:
    installed = await asyncio.to_thread(built_next, tmp_path)
    newer = {"SG": beside(installed)}
    async with running_region(tmp_path / "r", environment=newer) as (region, _, clients):
        found = await told_of(installed)
        assert str(installed) in found
        assert "'drugs': [2]" in found
        async with worker(region, installed) as log:

            async def ready() -> bool:
                return log.is_file() and '"connected"' in log.read_text("utf-8")

            await until(ready)
            ours, theirs = [], []
            for number in range(COUNT):
                ours.append(await clients["SG"].send(warning(number, ("MY", "VN"))))
                theirs.append(await clients["MY"].send(warning(100 + number, ("SG", "VN"))))
            sent = Counter(str(each.alert_id) for each in ours)
            came = Counter(str(each.alert_id) for each in theirs)
            for code, wanted in (("MY", sent), ("SG", came), ("VN", sent + came)):

                async def whole(code: str = code, wanted: Counter[str] = wanted) -> bool:
                    return await inbox(clients[code]) == wanted

                await until(whole, 120)

            async def told() -> bool:
                outcomes = [(await clients["SG"].status(each.id)).recipients for each in ours]
                return {o.state for each in outcomes for o in each} == {RecipientState.DELIVERED}

            await until(told, 120)
            assert '"decided"' in log.read_text("utf-8"), "the newer worker decided nothing"
            assert '"decided"' in (region.folder / "hub.log").read_text("utf-8")

        # Its own desk sends what the older hub and the older node do not read.
        outcome = await sent_by_newer_desk(region, installed)
        assert outcome["state"] == RecipientState.REFUSED
        assert outcome["refused_by"] in {"node", "gateway"}
        assert outcome["code"].startswith("policy-")
        assert await inbox(clients["MY"]) == sent
        for code in ("MY", "VN", "SG"):
            assert (await clients[code].node_status()).quarantined == 0


DESK = """
import asyncio, json, sys
from pathlib import Path
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from schemas.desk import AlertBody, DraftRequest
from schemas.vocabulary import TLP, Purpose, Status

async def main(folder, token, body):
    secret = (folder / "passphrase").read_bytes().strip()
    region = DemoRegion(folder, secret, {"SG": token})
    key = region.officer("SG")
    async with Client(url=region.url("SG"), token=token, officer_key=key) as desk:
        request = DraftRequest(
            status=Status.EXERCISE, alert=AlertBody(type="drugs", version=2, body=body),
            recipients=("MY",), agency="POLICE", tlp=TLP.AMBER, purposes=(Purpose.BORDER_CONTROL,),
        )
        sent = await desk.send(request)
        async for last in sent.watch():
            pass
        print(last.recipients[0].model_dump_json())

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
"""


async def sent_by_newer_desk(region: DemoRegion, installed: Path) -> dict[str, str]:
    """What became of an alert of a version that only the newer software reads."""
    alert = next(each for each in every_alert() if each.TYPE == "drugs")
    body = {**alert.model_dump(mode="json", exclude_none=True), "batch_mark": "a crescent"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DESK, str(region.folder), region.tokens["SG"], json.dumps(body)),
        env={**os.environ, **beside(installed)},  # noqa: TID251 - handed on to a child
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()
    found: dict[str, str] = json.loads(output)
    return found
