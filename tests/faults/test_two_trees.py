"""A hub that shows one tree to half of the witnesses and another to the other half.

Two real logs under one key, each behind a hub of its own, stand for it: whoever asks the one never
sees the other. No quorum stands behind either, and the first node, witness or auditor who meets
both has two notes that prove it.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker.ledger.commit import Entry
from broker.ledger.errors import LedgerError
from broker.ledger.state import Number
from broker.log.policyfile import write_policy
from broker.log.witness import Seen, WitnessRequest
from broker.node.logstate import seen_of
from tests.audit.bundles import entry
from tests.ledger.growing import ORIGIN
from tests.support.witnesses import Watched, watched_region, watching

pytestmark = [pytest.mark.processes, pytest.mark.hub, pytest.mark.timeout(400)]
HALVES = (("SG", "MY"), ("VN", "TH"))
COMMON, SIZE = 300, 310


def leaf(seq: int, time_s: int) -> Entry:
    return Entry(entry(seq, time_s=time_s), Number("gateway-1", 1, seq))


@pytest_asyncio.fixture
async def trees(tmp_path: Path) -> AsyncIterator[tuple[Watched, Watched]]:
    """Both grew alike at first; all four witnesses saw what their own hub showed."""
    region = watched_region()
    base = int((region.now - timedelta(hours=1)).timestamp()) // 10 * 10
    async with AsyncExitStack() as stack:
        found = []
        for side, codes in enumerate(HALVES):
            one = await stack.enter_async_context(
                watching(tmp_path / str(side), region=region, codes=codes)
            )
            await one.grow(of=[leaf(seq, base) for seq in range(COMMON)])
            await one.steps()
            await one.grow(of=[leaf(seq, base + 10 * side) for seq in range(COMMON, SIZE)])
            await one.steps()
            found.append(one)
        yield found[0], found[1]


async def audited(trees: tuple[Watched, Watched], folder: Path, *more: str) -> tuple[int, str]:
    """The two logs exported and verified by the commands an auditor has."""
    bundles = []
    for side, one in enumerate(trees):
        home, bundle = folder / f"home-{side}", folder / f"log-{side}.tar"
        (home / "log").mkdir(parents=True)
        (home / "log" / "tiles").symlink_to(one.committer.files.folder)
        code, out = await command(home, "audit", "export", str(bundle))
        assert code == 0, out
        bundles.append(str(bundle))
    policy = folder / "trust.policy"
    text = write_policy(trees[0].policy()).replace(b"quorum region", b"quorum none")
    policy.write_bytes(text)
    words = ("audit", "verify", bundles[0], "--policy", str(policy), "--since", bundles[1])
    return await command(folder / "nowhere", *words, *more)


async def command(home: Path, *words: str) -> tuple[int, str]:
    start = "from broker.cli import main; main()"
    environment = {**os.environ, "KENTONG_HOME": str(home)}  # noqa: TID251 - handed to a child
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", start, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


async def test_no_quorum_stands_behind_either_and_the_two_bundles_are_a_fork(
    trees: tuple[Watched, Watched], tmp_path: Path
) -> None:
    for one, codes in zip(trees, HALVES, strict=True):
        assert one.committer.files.raw("cosigned") is None
        for code in codes:
            shown = await one.watch(code).shown()
            assert shown is not None
            assert (shown.cosigned_size, shown.proven) == (SIZE, 0)
    code, out = await audited(trees, tmp_path, "--evidence", str(tmp_path / "evidence"))
    assert code == 4, out
    assert "FORK" in out
    notes = ("fork-*/checkpoint", f"fork-*/checkpoints/{SIZE}")
    kept = [path.read_bytes() for name in notes for path in (tmp_path / "evidence").glob(name)]
    roots = {trees[0].policy().verify_log(note).checkpoint.root for note in kept}
    assert len(roots) == 2


async def seen_by(one: Watched, code: str) -> tuple[Seen, bytes]:
    async with one.nodes[code].database.read() as connection:
        return await seen_of(connection, ORIGIN)


async def test_whoever_meets_both_has_the_proof_and_tells_the_others(
    trees: tuple[Watched, Watched],
) -> None:
    mine, theirs = trees
    checkpoint = theirs.policy().verify_log((await seen_by(theirs, "VN"))[1])
    lines = checkpoint.log_signatures
    keys = [each.key for each in lines]
    own = tuple(s for s in checkpoint.note.signatures if any(key.matches(s) for key in keys))
    asked = WitnessRequest(SIZE, (), checkpoint.checkpoint.signed(own)).to_bytes()
    before = await seen_by(mine, "SG")
    status, _ = await mine.watch("SG").cosigner.answer(asked)
    assert status.value == 422
    assert await seen_by(mine, "SG") == before
    await mine.steps("SG")
    await mine.steps("MY")
    assert await mine.alarms("SG") == ["log-fork", "log-inconsistent"]
    assert await mine.alarms("MY") == ["log-fork"]
    with pytest.raises(LedgerError) as caught:  # the log itself learns that its key signed both
        await mine.cosigning.tick()
    assert caught.value.code == "fork"


async def test_a_witness_that_changes_sides_shows_the_hub_its_own_fork(
    trees: tuple[Watched, Watched],
) -> None:
    mine, theirs = trees
    _, note = await seen_by(theirs, "VN")
    mine.cosigning.standings.show(b"VN", note)
    with pytest.raises(LedgerError) as caught:
        await mine.cosigning.tick()
    assert caught.value.code == "fork"
