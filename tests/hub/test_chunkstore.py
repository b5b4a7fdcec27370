"""Chunks at the hub whose envelope goes while they come: nothing lies on that nobody counts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest
from typing_extensions import override

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.errors import BrokerError
from broker.hub.chunkheads import Head
from broker.hub.chunkstore import ChunkStore
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import StoreError

BOUND_S = 30.0
NOW = clock.now()
IDENT, OTHER = UUID(int=1), UUID(int=2)
CHUNK = bytes([7]) * SEALED_CHUNK_BYTES
OTHERS = ("MY", "TH", "VN")
HEAD = Head(("MY",), (2,), NOW + timedelta(days=1))


@dataclass(frozen=True)
class SlowFiles(ChunkFiles):
    """The real files, on a disk that takes a chunk when the test lets it."""

    asked: Event = field(default_factory=Event)
    let: Event = field(default_factory=Event)

    @override
    def keep(self, shelf: str, number: int, index: int, raw: bytes) -> bool:
        self.asked.set()
        assert self.let.wait(BOUND_S)
        return super().keep(shelf, number, index, raw)


@dataclass(frozen=True)
class FailingFiles(ChunkFiles):
    """The real files, on a disk that gives nothing up while `fails` is set."""

    fails: Event = field(default_factory=Event)

    @override
    def empty(self, shelf: str, number: int | None = None) -> None:
        self._check()
        super().empty(shelf, number)

    @override
    def remove(self, shelf: str) -> None:
        self._check()
        super().remove(shelf)

    def _check(self) -> None:
        if self.fails.is_set():
            raise StoreError("disk-failed", "a test's disk", retry="later")


async def opened(files: ChunkFiles) -> ChunkStore:
    store = ChunkStore(files, 20 * SEALED_CHUNK_BYTES)
    await store.load()
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == (0,)
    return store


def names(folder: Path) -> list[str]:
    """Every file and folder below that of chunks."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


Ending = Callable[[ChunkStore], Awaitable[object]]
ENDINGS: dict[str, tuple[Ending, str, list[str]]] = {
    "taken": (
        lambda store: store.done("SG", IDENT, "MY"),
        "",
        ["SG", f"SG/{IDENT}", f"SG/{IDENT}/head"],
    ),
    "erased": (lambda store: store.remove("SG", IDENT), "not-open", ["SG"]),
    "expired": (lambda store: store.expire(HEAD.expires), "not-open", ["SG"]),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_chunk_that_lands_after_its_envelope_went_is_removed_again(
    name: str, tmp_path: Path
) -> None:
    ending, code, left = ENDINGS[name]
    files = SlowFiles(tmp_path / "chunks")
    store = await opened(files)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        keeping = group.create_task(outcome(store.keep("SG", IDENT, 0, 0, CHUNK)))
        assert await asyncio.to_thread(files.asked.wait, BOUND_S)
        await ending(store)
        files.let.set()
    assert keeping.result() == code
    assert names(tmp_path / "chunks") == left
    assert store.reserved("SG") == 0


async def outcome(keeping: Awaitable[None]) -> str:
    """The code of a refusal, or nothing."""
    try:
        await keeping
    except BrokerError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", ENDINGS)
async def test_what_the_disk_does_not_give_up_counts_until_it_does(
    name: str, tmp_path: Path
) -> None:
    ending, _, left = ENDINGS[name]
    files = FailingFiles(tmp_path / "chunks")
    store = await opened(files)
    await store.keep("SG", IDENT, 0, 0, CHUNK)
    files.fails.set()
    with pytest.raises(StoreError):
        await ending(store)
    assert store.reserved("SG") == 2 * SEALED_CHUNK_BYTES
    assert await store.chunk("SG", IDENT, 0, 0) == CHUNK
    files.fails.clear()
    await ending(store)  # said again, it is done
    assert names(tmp_path / "chunks") == left
    assert store.reserved("SG") == 0


@dataclass(frozen=True)
class BadShelf(ChunkFiles):
    """The real files, on a disk that does not give up one shelf."""

    @override
    def remove(self, shelf: str) -> None:
        if shelf == f"SG/{IDENT}":
            raise StoreError("disk-failed", "a test's disk", retry="later")
        super().remove(shelf)


async def test_a_shelf_that_the_disk_does_not_give_up_keeps_no_other(tmp_path: Path) -> None:
    store = await opened(BadShelf(tmp_path / "chunks"))
    await store.open("SG", OTHER, HEAD, OTHERS, patient=True)
    with pytest.raises(StoreError):
        await store.expire(HEAD.expires)
    assert names(tmp_path / "chunks") == ["SG", f"SG/{IDENT}", f"SG/{IDENT}/head"]
    assert store.reserved("SG") == 2 * SEALED_CHUNK_BYTES


async def test_the_sum_of_what_is_promised_follows_each_change(tmp_path: Path) -> None:
    files = ChunkFiles(tmp_path / "chunks")
    store = await opened(files)
    await store.open("SG", OTHER, Head(("MY", "TH"), (1, 3), HEAD.expires), OTHERS, patient=True)
    await store.open("MY", OTHER, Head(("SG",), (1,), HEAD.expires), OTHERS, patient=True)
    assert store.reserved("SG") == 6 * SEALED_CHUNK_BYTES
    await store.done("SG", OTHER, "TH")
    assert store.reserved("SG") == 6 * SEALED_CHUNK_BYTES
    await store.done("SG", OTHER, "MY")
    again = ChunkStore(files, store.quota_bytes)
    for _ in range(2):  # a start, and another
        await again.load()
    for each in (store, again):
        assert each.reserved("SG") == 2 * SEALED_CHUNK_BYTES
        assert each.reserved("MY") == SEALED_CHUNK_BYTES
        assert each.reserved("TH") == 0
    await again.expire(HEAD.expires)
    assert again.reserved("SG") == again.reserved("MY") == 0


@dataclass(frozen=True)
class ListedFiles(ChunkFiles):
    """The real files, which say how often a shelf was listed."""

    listed: list[str] = field(default_factory=list)

    @override
    def _names(self, shelf: str) -> set[str]:
        self.listed.append(shelf)
        return super()._names(shelf)


async def test_a_shelf_is_listed_once_however_many_files_it_has_and_however_often_it_is_opened(
    tmp_path: Path,
) -> None:
    """Else one member's small questions would keep the hub at work for as long as it likes."""
    head = Head(("MY",), (3, 1, 4), HEAD.expires)

    async def opened_anew() -> tuple[ChunkStore, ListedFiles]:
        files = ListedFiles(tmp_path / "chunks")
        store = ChunkStore(files, 20 * SEALED_CHUNK_BYTES)
        await store.load()
        files.listed.clear()
        return store, files

    async def begin(store: ChunkStore) -> tuple[int, ...]:
        return await store.open("SG", IDENT, head, OTHERS, patient=True)

    store, files = await opened_anew()
    assert await begin(store) == (0, 0, 0)
    for (number, index), found in {
        (0, 0): (1, 0, 0),
        (2, 1): (1, 0, 0),
        (2, 0): (1, 0, 2),
        (1, 0): (1, 1, 2),
        (0, 2): (1, 1, 2),
        (0, 1): (3, 1, 2),
    }.items():
        await store.keep("SG", IDENT, number, index, CHUNK)
        assert await begin(store) == await begin(store) == found
    assert files.listed == [f"SG/{IDENT}"]
    store, files = await opened_anew()  # after a process that was killed
    assert await begin(store) == await begin(store) == (3, 1, 2)
    assert files.listed == [f"SG/{IDENT}"]


async def test_a_chunk_that_the_disk_lost_is_asked_for_again(tmp_path: Path) -> None:
    files = ChunkFiles(tmp_path / "chunks")
    store = await opened(files)
    for index in range(2):
        await store.keep("SG", IDENT, 0, index, CHUNK)
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == (2,)
    files.drop(f"SG/{IDENT}", 0, 0)
    assert await store.chunk("SG", IDENT, 0, 0) is None
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == (0,)


async def test_an_envelope_that_is_opened_again_after_it_was_removed_is_empty(
    tmp_path: Path,
) -> None:
    store = await opened(ChunkFiles(tmp_path / "chunks"))
    await store.keep("SG", IDENT, 0, 0, CHUNK)
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == (1,)
    await store.remove("SG", IDENT)
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == (0,)


async def mended(folder: Path, recipients: tuple[str, ...]) -> ChunkStore:
    """Two chunks under a head made anew, of ten; of 24 one recipient may have ten waiting."""
    files = ChunkFiles(folder)
    store = ChunkStore(files, 24 * SEALED_CHUNK_BYTES)
    await store.load()
    head = Head(recipients, (10,), HEAD.expires)
    await store.open("SG", IDENT, head, OTHERS, patient=True)
    for index in range(2):
        await store.keep("SG", IDENT, 0, index, CHUNK)
    (folder / "SG" / str(IDENT) / "head").write_bytes(b"changed")
    await store.load()
    await store.mend("SG", IDENT, head)
    assert store.reserved("SG") == 2 * SEALED_CHUNK_BYTES
    return store


async def test_what_all_have_taken_counts_until_its_time_is_over(tmp_path: Path) -> None:
    """Else a member could fill the hub's memory with envelopes that take no room."""
    store = ChunkStore(ChunkFiles(tmp_path / "chunks"), 20 * SEALED_CHUNK_BYTES, most_envelopes=1)
    await store.load()
    await store.open("SG", IDENT, HEAD, OTHERS, patient=True)
    await store.done("SG", IDENT, "MY")
    assert store.reserved("SG") == 0
    for _ in range(2):
        with pytest.raises(BrokerError) as caught:
            await store.open("SG", OTHER, HEAD, OTHERS, patient=True)
        assert (caught.value.code, caught.value.retry) == ("attachment-quota", "later")
        await store.load()  # as after a start
    assert await store.open("SG", IDENT, HEAD, OTHERS, patient=True) == HEAD.counts  # not anew
    assert await store.open("TH", OTHER, HEAD, OTHERS, patient=True) == (0,)  # nor others
    await store.expire(HEAD.expires)
    later = replace(HEAD, expires=HEAD.expires + timedelta(days=1))
    assert await store.open("SG", OTHER, later, OTHERS, patient=True) == (0,)


async def test_who_tells_anew_what_will_come_has_no_more_room_than_anybody(tmp_path: Path) -> None:
    store = await mended(tmp_path / "chunks", ("MY",))
    for counts, code in {(11,): "attachment-quota", (1,): "counts-differ"}.items():
        told = Head(("MY",), counts, HEAD.expires)
        for patient in (True, False):
            opening = store.open("SG", IDENT, told, OTHERS, patient=patient)
            with pytest.raises(BrokerError) as caught:
                await opening
            assert caught.value.code == code
        assert store.reserved("SG") == 2 * SEALED_CHUNK_BYTES  # it stands as it was
    assert await store.chunk("SG", IDENT, 0, 1) == CHUNK
    told = Head(("MY",), (10,), HEAD.expires)
    assert await store.open("SG", IDENT, told, OTHERS, patient=True) == (2,)
    assert store.reserved("SG") == 10 * SEALED_CHUNK_BYTES


TOLD = Head(("MY", "TH", "VN"), (10,), HEAD.expires)


async def test_under_a_head_made_anew_who_has_none_is_left_out(tmp_path: Path) -> None:
    store = await mended(tmp_path / "chunks", TOLD.recipients)
    await store.open("SG", OTHER, Head(("VN",), (5,), HEAD.expires), OTHERS, patient=True)
    with pytest.raises(BrokerError) as caught:
        await store.open("SG", IDENT, TOLD, OTHERS, patient=True)
    assert caught.value.code == "attachment-quota"
    assert await store.open("SG", IDENT, TOLD, OTHERS, patient=False) == (2,)
    head = store.head("SG", IDENT, now=NOW)
    assert head is not None
    assert head.recipients == ("MY", "TH")


async def test_under_a_head_made_anew_who_has_all_needs_no_room(tmp_path: Path) -> None:
    store = await mended(tmp_path / "chunks", TOLD.recipients)
    await store.done("SG", IDENT, "MY")
    await store.open("SG", OTHER, Head(("MY",), (5,), HEAD.expires), OTHERS, patient=True)
    assert await store.open("SG", IDENT, TOLD, OTHERS, patient=True) == (2,)
    head = store.head("SG", IDENT, now=NOW)
    assert head is not None
    assert (head.recipients, head.done) == (TOLD.recipients, ("MY",))
