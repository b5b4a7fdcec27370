"""A file on its way while everything that carries it is killed, and what it costs in memory."""

import asyncio
import hashlib
import os
import re
import sys
from pathlib import Path

import pytest

from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError
from keys.files import write_private
from keys.primitives.hashing import random_bytes
from schemas.attachment import CHUNK_BYTES
from schemas.desk import ArrivalState
from tests.support.desk import asked, at_least, forget_peak, peak_kib, sent
from tests.support.processes import descendants, running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.slow]
MIB = 1024 * 1024


def written(path: Path, size: int) -> str:
    """A file of random bytes, written and hashed a mebibyte at a time."""
    whole = hashlib.sha256()
    with path.open("wb") as out:
        for start in range(0, size, MIB):
            piece = random_bytes(min(MIB, size - start))
            whole.update(piece)
            out.write(piece)
    return whole.hexdigest()


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(600)
async def test_a_file_arrives_whole_though_all_that_carry_it_are_killed(tmp_path: Path) -> None:
    film = tmp_path / "film.bin"
    whole = written(film, 50 * MIB - 1234)
    chunks = -(-(50 * MIB - 1234) // CHUNK_BYTES)
    async with (
        must_come(560, lambda: "the film did not arrive after all"),
        running_region(tmp_path / "r") as (_, processes, clients),
    ):
        envelope = await sent(clients["SG"], film)
        await at_least(clients["MY"], envelope, 1)
        await processes.kill("MY")
        await processes.start_node("MY")
        before = (await at_least(clients["MY"], envelope, chunks // 4)).have
        assert before >= chunks // 4
        await processes.kill("SG")
        await processes.start_node("SG")
        await at_least(clients["MY"], envelope, chunks // 2)
        await processes.kill("hub")
        await processes.start_hub()
        await processes.kill("MY")
        await processes.start_node("MY")
        shown = await at_least(clients["MY"], envelope, chunks)
        while shown.state is ArrivalState.ARRIVING:
            shown = await at_least(clients["MY"], envelope, chunks)
        assert shown.state is ArrivalState.COMPLETE
        out = tmp_path / "out.bin"
        await clients["MY"].save_attachment(envelope, 1, out)  # type: ignore[arg-type]
        assert digest(out) == whole


async def test_a_desk_and_its_node_are_killed_while_a_file_goes_between_them(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.bin"
    whole = written(film, 20 * MIB)
    async with (
        must_come(280, lambda: "the file did not arrive after all"),
        running_region(tmp_path / "r") as (region, processes, clients),
    ):
        await _killed_desk(region, film)
        await processes.kill("SG")
        await processes.start_node("SG")
        started: list[int] = []
        file = await clients["SG"].attach(film, progress=lambda done, _: started.append(done))
        assert started[0] > CHUNK_BYTES  # it did not begin anew
        submission = await clients["SG"].send(asked().model_copy(update={"attachments": (file,)}))
        await submission.wait("accepted")
        envelope = submission.shown.id
        shown = await at_least(clients["MY"], envelope, 80)
        while shown.state is ArrivalState.ARRIVING:
            shown = await at_least(clients["MY"], envelope, 81)
        out, part = tmp_path / "out.bin", tmp_path / "out.bin.part"
        write_private(part, film.read_bytes()[: 7 * MIB + 5])  # a desk that was killed left this
        seen: list[int] = []
        await clients["MY"].save_attachment(
            envelope,  # type: ignore[arg-type]
            1,
            out,
            progress=lambda done, _: seen.append(done),
        )
        assert seen[0] > 7 * MIB
        assert digest(out) == whole
        assert not part.exists()
        part.write_bytes(bytes(20 * MIB))  # another file of the same length stands there
        with pytest.raises(BrokerError) as caught:
            await clients["MY"].save_attachment(envelope, 1, out)  # type: ignore[arg-type]
        assert caught.value.code == "exists"
        out.unlink()
        with pytest.raises(BrokerError) as caught:
            await clients["MY"].save_attachment(envelope, 1, out)  # type: ignore[arg-type]
        assert caught.value.code == "attachment-mismatch"
        assert not part.exists()


async def _killed_desk(region: DemoRegion, film: Path) -> None:
    """A desk that is killed with SIGKILL after two megabytes or so."""
    program = (
        "import asyncio, os, signal, sys\n"
        "from broker.client import Client\n"
        "def tell(done, _):\n"
        "    if done > 2 * 1024 * 1024: os.kill(os.getpid(), signal.SIGKILL)\n"
        "async def main():\n"
        "    async with Client(url=sys.argv[1], token=sys.argv[2]) as client:\n"
        "        await client.attach(sys.argv[3], progress=tell)\n"
        "asyncio.run(main())\n"
    )
    socket = region.home("SG") / "node" / "api.sock"
    words = (f"unix://{socket}", region.tokens["SG"], str(film))
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *words)
    assert await child.wait() == -9


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_a_large_file_is_in_nobodys_memory(tmp_path: Path) -> None:
    """Peak memory of desk, nodes and hub after a file, against a first one that is small.

    128 MiB here; `KENTONG_SOAK_MIB=1024` for the largest there can be.
    """
    size = int(os.environ.get("KENTONG_SOAK_MIB", "128")) * MIB  # noqa: TID251 - a test setting
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    written(small, 2 * MIB)
    whole = written(large, size)
    desks: list[int] = []

    def prepare(region: DemoRegion) -> None:
        config = region.hub / "hub" / "config.toml"
        text = config.read_text()
        roomy = re.sub(r"attachment_mib = \d+", "attachment_mib = 4096", text)
        assert roomy != text
        write_private(config, roomy.encode())

    async with running_region(tmp_path / "r", prepare=prepare) as (region, processes, _):
        for path in (small, large):
            before = _peaks(processes.pids(), anew=True)
            told = await _desk(region, path, out := tmp_path / f"{path.name}.out")
            after = _peaks(processes.pids())
            desks.append(int(told["peak"]))
        assert digest(out) == whole
        grown = {name: after[name] - before[name] for name in after}
        grown["desk"] = desks[1] - desks[0]
        print(f"{size // MIB} MiB: {told}")  # noqa: T201 - shown with -s
        print(f"peak KiB {after}, of that for this file {grown}")  # noqa: T201 - shown with -s
        for name, kib in grown.items():
            assert kib < min(size // 1024 // 2, 48 * 1024), (name, grown)


async def _desk(region: DemoRegion, path: Path, out: Path) -> dict[str, str]:
    """What a desk says of itself that did nothing else: it sent this file, and had it back.

    A process of its own: this one has had the memory of all tests before.
    """
    words = [word for code in ("SG", "MY") for word in (code, region.tokens[code])]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.desk", str(region.folder), *words, str(path), str(out)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0
    return dict(word.split("=") for word in said.decode().split())


def _peaks(pids: dict[str, int], *, anew: bool = False) -> dict[str, int]:
    """Highest resident memory in KiB of each process since it was last begun anew."""
    all_pids = dict(pids)
    for child in descendants(pids["hub"]):
        all_pids[f"hub/{Path(f'/proc/{child}/comm').read_text().strip()}/{child}"] = child
    if anew:
        for pid in all_pids.values():
            forget_peak(pid)
    return {name: peak_kib(pid) for name, pid in all_pids.items()}
