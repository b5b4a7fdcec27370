"""A log put back from a backup gets its leaves from the members by itself, proved, or stops."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.errors import BrokerError
from broker.ledger.borrowing import Borrowing
from broker.ledger.commit import Committer, staged_notes
from broker.ledger.cosigning import Cosigning
from broker.ledger.errors import LedgerError
from broker.ledger.intake import GatewayKey
from broker.ledger.state import Beside
from broker.log.checkpoint import Checkpoint
from broker.log.tiles import Tile, encode_bundle
from broker.node.lending import Lending
from broker.store.lacking import Lacking
from broker.transport.services import REFUSED, HubServices, Witnessing
from tests.ledger.growing import a_log
from tests.ledger.stages import sequencer_of
from tests.ledger.test_restoring import KEY, grow, leaf, watched
from tests.support.hub import BOUND_S
from tests.support.witnesses import KEYS, Watched

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60), pytest.mark.slow]
__all__ = ["watched"]  # The fixture: 345 leaves, of which a backup has 300.


@dataclass
class Again:
    """The log as its backup has it, started at the hub in place of the newer one."""

    watched: Watched
    committer: Committer
    cosigning: Cosigning
    borrowing: Borrowing

    @property
    def checkpoint(self) -> Checkpoint:
        raw = self.committer.files.checkpoint() or b""
        return self.watched.policy().verify_log(raw).checkpoint

    async def agreed(self, *codes: str) -> None:
        """Wait for the witnesses as after a start, while these members' nodes ask on and on."""
        size = (await self.committer.state.locked()).size

        async def ask(code: str) -> None:
            while True:
                await self.watched.rounds(code)
                await asyncio.sleep(0.01)

        async with asyncio.timeout(BOUND_S):
            asking = [asyncio.get_running_loop().create_task(ask(code)) for code in codes]
            try:
                await self.cosigning.wait_agreed(size)
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)

    async def signed(self) -> int:
        return (await self.committer.signer.state())[0]


@asynccontextmanager
async def put_back(watched: Watched, backup: Path) -> AsyncIterator[Again]:
    await watched.served.aclose()
    async with (
        a_log(backup, sign=KEYS.sign, vkeys=KEYS.vkeys) as committer,
        watched.hub.hub_link() as link,
    ):
        cosigning = Cosigning(committer.files, watched.policy, round_s=0)
        borrowing = Borrowing(cosigning.standings, committer, watched.policy, 2.0)
        cosigning.borrowing = borrowing
        await link.wait_connected(BOUND_S)
        await cosigning.serve(link)
        yield Again(watched, committer, cosigning, borrowing)


async def test_what_was_signed_comes_back_from_the_member_that_cosigned_most(
    watched: Watched, tmp_path: Path
) -> None:
    signed = watched.policy().verify_log(watched.committer.files.checkpoint() or b"").checkpoint
    async with put_back(watched, tmp_path / "backup") as again:
        assert again.checkpoint.size == 300
        mark = Lacking(again.committer.files.folder)
        mark.mark()  # by an earlier start
        await again.agreed("SG", "MY", "VN")
        assert not mark.is_marked()
        assert again.checkpoint == signed  # all 345, five of which SG alone had cosigned
        await again.cosigning.tick()  # nothing is wrong any more
        await grow(again.committer, (await again.committer.recover()).size, 3)
        await watched.rounds()
        assert {code: await watched.alarms(code) for code in watched.nodes} == {
            code: [] for code in watched.nodes
        }
        shown = await watched.watch("SG").shown()
        assert shown is not None
        assert shown.cosigned_size == 348


@pytest.mark.parametrize("staged", ["gone", "damaged"])
async def test_leaves_that_the_signer_alone_remembers_come_back_too(
    watched: Watched, tmp_path: Path, staged: str
) -> None:
    shutil.copy(watched.folder / "log" / "signer.json", tmp_path / "backup" / "signer.json")
    async with put_back(watched, tmp_path / "backup") as again:
        if staged == "damaged":
            others = [leaf(seq).raw for seq in range(9_300, 9_345)]
            again.committer.files.stage(300, others, staged_notes({}, (), Beside()))
        keys = (GatewayKey(KEY.public),)
        sequencer = sequencer_of(watched.nodes["SG"].link, again.committer, watched.region)
        sequencer.gateway_keys = lambda: keys
        with pytest.raises(LedgerError) as caught:
            await sequencer.run()  # where no witness can be asked
        assert caught.value.code == "signer-ahead"

        async def agreed(size: int) -> None:
            assert size == 300
            await again.agreed("SG", "MY", "VN")
            raise _Agreed

        sequencer.agreed = agreed
        with pytest.raises(_Agreed):
            await sequencer.run()
        assert await again.signed() == again.checkpoint.size == 345


class _Agreed(Exception):  # noqa: N818 - an event, no error
    """The witnesses agreed; how it goes on is tested elsewhere."""


def spoil(watched: Watched, code: str) -> None:
    """Change a leaf of a member's copy on its disk."""
    files = watched.watch(code).files
    tile = Tile(None, 1, 345 - 256) if code == "SG" else Tile(None, 1, 340 - 256)
    rows = files.read(tile)
    (files.folder / tile.path).write_bytes(encode_bundle([*rows[:-1], leaf(9_999).raw]))


async def test_a_copy_that_proves_nothing_gives_nothing_and_the_next_member_is_asked(
    watched: Watched, tmp_path: Path
) -> None:
    spoil(watched, "SG")
    async with put_back(watched, tmp_path / "backup") as again:
        with pytest.raises(LedgerError) as caught:
            await again.agreed("SG", "MY", "VN")
        assert caught.value.code == "witness-ahead"  # five leaves are at SG alone, and spoilt
        assert await again.signed() == again.checkpoint.size == 340


async def test_where_nobody_has_the_leaves_nothing_is_signed(
    watched: Watched, tmp_path: Path
) -> None:
    for code in watched.nodes:
        spoil(watched, code)
    async with put_back(watched, tmp_path / "backup") as again:
        with pytest.raises(LedgerError) as caught:
            await again.agreed("SG", "MY", "VN")
        assert caught.value.code == "witness-ahead"
        assert await again.signed() == again.checkpoint.size == 300


async def test_a_member_that_begins_and_falls_silent_holds_nobody_up(
    watched: Watched, tmp_path: Path
) -> None:
    async with put_back(watched, tmp_path / "backup") as again:
        sg = watched.nodes["SG"]
        hub = HubServices(sg.link, "SG")
        await hub.witness(Witnessing.NEXT, b"345\n")
        note = watched.watch("SG").files.raw("seen") or b""
        await hub.witness(Witnessing.LATEST, note)  # it says how far it is, and gives nothing
        with pytest.raises(LedgerError):
            await again.agreed("MY", "VN")
        assert await again.signed() == 340


async def test_what_lacks_leaves_is_not_shown_as_if_it_were_the_log(
    watched: Watched, tmp_path: Path
) -> None:
    mirror = watched.watch("VN").mirror
    await mirror.compare()
    async with put_back(watched, tmp_path / "backup") as again:
        await watched.rounds("VN")  # it says how far it is
        with pytest.raises(BrokerError) as caught:
            await mirror.compare()
        assert caught.value.code == "busy"
        assert not await watched.alarms("VN")
        await again.agreed("SG", "MY", "VN")
        await mirror.compare()
        assert not await watched.alarms("VN")


async def test_what_was_not_asked_for_is_refused(watched: Watched, tmp_path: Path) -> None:
    async with put_back(watched, tmp_path / "backup") as again:
        hub = HubServices(watched.nodes["MY"].link, "MY")
        for body in (b"checkpoint\nx", b"tile/entries/001.p/89\nx", b"", b"\n"):
            assert await hub.witness(Witnessing.LEAVES, body) == REFUSED
        for code in ("SG", "MY", "VN"):  # of whom SG is asked
            note = watched.watch(code).files.raw("seen") or b""
            own = HubServices(watched.nodes[code].link, code)
            await own.witness(Witnessing.LATEST, note)
        waiting = asyncio.get_running_loop().create_task(again.cosigning.wait_agreed(300))
        sg = HubServices(watched.nodes["SG"].link, "SG")
        async with asyncio.timeout(BOUND_S):
            while await sg.witness(Witnessing.NEXT, b"345\n") != b"lend checkpoint\n":  # noqa: ASYNC110 - another task
                await asyncio.sleep(0.01)
        assert await hub.witness(Witnessing.LEAVES, b"checkpoint\nx") == REFUSED  # not its turn
        assert await sg.witness(Witnessing.LEAVES, b"seen\nx") == REFUSED  # not yet
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert await sg.witness(Witnessing.LEAVES, b"checkpoint\nx") == REFUSED
        assert await again.signed() == 300


def test_a_node_lends_leaves_and_its_notes_and_nothing_else(
    watched: Watched, tmp_path: Path
) -> None:
    files = watched.watch("SG").files
    lending = Lending(files)
    rows = [leaf(seq).raw for seq in range(256, 300)]
    assert lending.file(Tile(None, 1, 44).path) == encode_bundle(rows)  # cut to what is asked
    assert lending.file("seen") == files.raw("seen")
    shutil.copy(files.folder / "seen", tmp_path / "secret")
    outside = f"../../../../../{tmp_path.name}/secret"
    for path in ("", "cosigned", "tile/0/000", "tile/entries/002", outside, "tile/entries/../../x"):
        assert lending.file(path) == b""
