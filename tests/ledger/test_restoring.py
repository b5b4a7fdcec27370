"""A log put back from a backup gets its leaves from a member's copy, or nothing is signed."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.ledger.commit import Committer, Entry
from broker.ledger.errors import LedgerError
from broker.ledger.restoring import ProvenCopy, Read, restore
from broker.ledger.state import Number, Position
from broker.log.announcement import stream_id
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, leaf_hash
from broker.log.tiles import Tile, encode_bundle
from keys.primitives.hashing import sha256
from keys.primitives.signing import SignKey
from tests.audit.bundles import said
from tests.ledger.growing import ORIGIN, a_log
from tests.support.witnesses import KEYS, Watched, watching

pytestmark = pytest.mark.hub
KEY = SignKey.generate()
CREATED = "2026-01-01T00:00:00Z"
AUDIT = "AUDIT_2026"


def leaf(seq: int, *, stream_seq: int = 0) -> Entry:
    signed = said(seq).sign(KEY).found_at(stream_id(AUDIT, CREATED), stream_seq or seq + 1)
    digest = sha256(said(seq).sign(KEY).to_bytes()).hex()
    return Entry(signed.to_bytes(), Number("gateway-1", 7, seq, digest))


async def grow(committer: Committer, size: int, count: int) -> None:
    read = {AUDIT: Position(CREATED, size + count + 1, "tail")}
    await committer.grow(size, [leaf(seq) for seq in range(size, size + count)], read)


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """A log of 300 leaves, backed up as a whole; then 40 more, and 5 that SG alone cosigned."""
    async with watching(tmp_path / "w") as found:
        await grow(found.committer, 0, 300)
        await found.rounds()
        shutil.copytree(tmp_path / "w" / "log", tmp_path / "backup", ignore=_no_sockets)
        await grow(found.committer, 300, 40)
        await found.rounds()
        await found.steps()
        await grow(found.committer, 340, 5)
        await found.steps("SG")
        yield found


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def read_in(folder: Path) -> Read:
    def read(path: str) -> bytes | None:
        place = folder / path
        return place.read_bytes() if place.is_file() else None

    return read


def copy_at(watched: Watched, code: str) -> Path:
    return watched.watch(code).files.folder


async def test_the_log_is_again_what_was_signed_even_beyond_the_quorum(
    watched: Watched, tmp_path: Path
) -> None:
    copy = ProvenCopy.of(read_in(copy_at(watched, "SG")), watched.policy())
    assert (copy.checkpoint.size, copy.witnessed) == (345, 340)
    signed = watched.policy().verify_log(watched.committer.files.checkpoint() or b"").checkpoint
    async with a_log(tmp_path / "backup", sign=KEYS.sign, vkeys=KEYS.vkeys) as committer:
        assert await restore(committer, copy) == (300, 345)
        again = watched.policy().verify_log(committer.files.checkpoint() or b"").checkpoint
        assert again == signed
        position = (await committer.state.positions())[AUDIT]
        assert position.next_seq == 301  # the stream is read again from where the backup was
        numbers = [leaf(seq).number for seq in range(345)]
        known = await committer.state.known(numbers)
        assert all(known[number] == number.said for number in numbers)  # and repeats are no faults
        await grow(committer, 345, 3)  # and goes on
        with pytest.raises(LedgerError) as caught:
            await restore(committer, copy)
        assert caught.value.code == "nothing-newer"


async def test_a_store_older_than_its_signer_is_filled_from_a_copy(
    watched: Watched, tmp_path: Path
) -> None:
    shutil.copy(watched.folder / "log" / "signer.json", tmp_path / "backup" / "signer.json")
    copy = ProvenCopy.of(read_in(copy_at(watched, "SG")), watched.policy())
    async with a_log(tmp_path / "backup", sign=KEYS.sign, vkeys=KEYS.vkeys) as committer:
        with pytest.raises(LedgerError) as caught:
            await committer.recover()
        assert caught.value.code == "signer-ahead"
        assert await restore(committer, copy) == (300, 345)
        await grow(committer, 345, 3)


async def test_a_copy_that_does_not_begin_with_what_is_here_is_a_fork(
    watched: Watched, tmp_path: Path
) -> None:
    copy = ProvenCopy.of(read_in(copy_at(watched, "SG")), watched.policy())
    (tmp_path / "other").mkdir(mode=0o700)
    async with a_log(tmp_path / "other", sign=KEYS.sign, vkeys=KEYS.vkeys) as committer:
        await committer.grow(0, [Entry(b"another", Number("gateway-1", 9, 0))], {})
        with pytest.raises(LedgerError) as caught:
            await restore(committer, copy)
        assert caught.value.code == "fork"
        assert (await committer.signer.state())[0] == 1


@pytest.mark.parametrize("change", ["entry", "gone", "no-note", "no-quorum", "beyond"])
async def test_a_copy_that_is_not_what_was_signed_is_not_taken(
    watched: Watched, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(copy_at(watched, "MY"), folder)
    bundle = folder / Tile(None, 0).path
    match change:
        case "entry":
            rows = [leaf(seq).raw for seq in range(256)]
            bundle.write_bytes(encode_bundle([leaf(999).raw, *rows[1:]]))
        case "gone":
            bundle.unlink()
        case "no-note":
            (folder / "checkpoint").unlink()
        case "no-quorum":
            (folder / "checkpoint").write_bytes(watched.committer.files.checkpoint() or b"")
        case _:  # a tree that the log signed, and of which the copy has not the leaves
            tree = Frontier().append(leaf_hash(b"x %d" % at) for at in range(400))
            other = Checkpoint(ORIGIN, 400, tree.root())
            line = watched.watch("MY").cosigner.signer().cosign(other, time_s=1)
            note = KEYS.sign(other).signed_also((line,))
            (folder / "seen").write_bytes(note.to_bytes())
    with pytest.raises(LogError):
        ProvenCopy.of(read_in(folder), watched.policy())
