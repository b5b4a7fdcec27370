"""A witness put back from a backup signs nothing until the others told it what it had signed."""

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, leaf_hash
from broker.log.witness import WitnessRequest
from broker.node import logstate
from broker.node.node import Node
from tests.ledger.growing import ORIGIN, entries
from tests.support.databases import current
from tests.support.nodes import Clock
from tests.support.witnesses import KEYS, Watched, watching

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watching(tmp_path / "w", Clock()) as found:
        yield found


async def put_back(watched: Watched, code: str, *, marked: bool) -> Node:
    """A node whose database and copy are those of the time of the backup."""
    folder = watched.folder / f"restored-{code}"
    shutil.copytree(watched.folder / "backup", folder)
    current().put_back(watched.folder / "backup" / f"{code}.db", folder / f"{code}.db")
    node = await watched.open_node(code, folder)
    if marked:
        await mark(node)
    watched.nodes[code] = node
    return node


async def mark(node: Node) -> None:
    now_s = int(node.present.now().timestamp())
    await node.database.change(lambda c: logstate.mark_restored(c, now_s))


async def backed_up(watched: Watched) -> None:
    """A log of 5 leaves that all cosigned, backed up at MY, then 4 more that all cosigned."""
    await watched.grow(5)
    await watched.rounds()
    await watched.steps()
    await watched.nodes["MY"].database.empty_journal()
    shutil.copytree(watched.folder / "nodes", watched.folder / "backup")
    current().back_up(watched.folder / "nodes" / "MY.db", watched.folder / "backup" / "MY.db")
    await watched.grow(4)
    await watched.steps()


async def cosigned(node: Node) -> int:
    assert node.log is not None
    shown = await node.log.shown()
    assert shown is not None
    return shown.cosigned_size


def later(watched: Watched) -> None:
    assert watched.at is not None
    watched.at.ahead += timedelta(seconds=2)


async def test_it_signs_again_once_the_others_showed_newer_words(watched: Watched) -> None:
    await backed_up(watched)
    later(watched)
    node = await put_back(watched, "MY", marked=True)
    await watched.grow(3)
    await watched.rounds("MY")
    assert await cosigned(node) == 5  # what the others said before proves nothing now
    later(watched)
    await watched.rounds("SG")
    await watched.rounds("MY")
    assert await cosigned(node) == 5  # of four witnesses, two others are needed
    await watched.rounds("VN", "MY")
    assert await cosigned(node) == 12
    await watched.grow()
    await watched.rounds()
    assert await cosigned(node) == 13


async def test_meanwhile_it_signs_nothing_that_it_is_asked(watched: Watched) -> None:
    await backed_up(watched)
    node = await put_back(watched, "MY", marked=True)
    tree = Frontier().append(leaf_hash(each.raw) for each in entries(0, 5))
    note = KEYS.sign(Checkpoint(ORIGIN, 5, tree.root()))
    assert node.log is not None
    status, _ = await node.log.cosigner.answer(WitnessRequest(5, (), note).to_bytes())
    assert status.value == 503


async def test_it_notices_by_itself_that_it_signed_more_than_it_remembers(
    watched: Watched,
) -> None:
    await backed_up(watched)
    node = await put_back(watched, "MY", marked=False)
    assert node.log is not None
    await node.log.mirror.follow()  # the newest tree of a quorum has our own line
    await watched.grow()
    await watched.rounds("MY")
    assert await cosigned(node) == 5
    assert "witness-restored" in await watched.alarms("MY")
    later(watched)
    await watched.rounds("SG", "VN", "MY")
    assert await cosigned(node) == 10


async def test_a_node_that_lost_everything_notices_it_too(watched: Watched) -> None:
    await backed_up(watched)
    node = watched.nodes["MY"] = await watched.open_node("MY", watched.folder / "empty")
    await watched.rounds("MY")
    assert await cosigned(node) == 0
    assert "witness-restored" in await watched.alarms("MY")
    later(watched)
    await watched.grow()
    await watched.rounds("SG", "VN", "MY")
    assert await cosigned(node) == 10


async def test_it_signs_nothing_while_it_is_shown_two_trees(watched: Watched) -> None:
    await backed_up(watched)
    later(watched)
    node = await put_back(watched, "MY", marked=True)
    later(watched)
    await watched.grow()
    await watched.rounds("SG", "VN")
    tree = Frontier().append(leaf_hash(b"other %d" % at) for at in range(10))
    other = Checkpoint(ORIGIN, 10, tree.root())
    at_s = int(clock.now().timestamp()) + 60
    signer = watched.watch("VN").cosigner
    forked = KEYS.sign(other).signed_also((signer.signer().cosign(other, time_s=at_s),))
    watched.cosigning.standings.latest[b"VN"] = watched.policy().verify_log(forked.to_bytes())
    with pytest.raises(LogError):
        await watched.rounds("MY")
    assert await cosigned(node) == 5
    assert "log-inconsistent" in await watched.alarms("MY")
