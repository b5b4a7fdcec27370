"""Chunks in a folder: each written once, whichever of several comes first."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event

import pytest

from broker.store.chunkfiles import ChunkFiles
from broker.store.errors import StoreError
from keys.files import add_file

PLACES = 20
TOGETHER = 4
REMOVALS = 500


def test_of_chunks_that_come_for_one_place_at_once_one_is_kept(tmp_path: Path) -> None:
    files, start = ChunkFiles(tmp_path / "chunks"), Barrier(TOGETHER)

    def keep(index: int, own: int) -> bool:
        start.wait(timeout=30)
        return files.keep("shelf", 0, index, bytes([own]) * 1000)

    with ThreadPoolExecutor(TOGETHER) as threads:
        for index in range(PLACES):
            kept = list(threads.map(keep, [index] * TOGETHER, range(TOGETHER)))
            assert sum(kept) == 1
            assert files.read("shelf", 0, index) == bytes([kept.index(True)]) * 1000
            assert files.keep("shelf", 0, index, bytes([kept.index(True)]) * 1000)
    assert len(list((tmp_path / "chunks" / "shelf").iterdir())) == PLACES  # and no halves


def test_what_stands_at_a_place_is_not_replaced(tmp_path: Path) -> None:
    add_file(tmp_path / "a", b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        add_file(tmp_path / "a", b"second", mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_shelf_is_removed_while_somebody_writes_to_it(tmp_path: Path) -> None:
    files, over = ChunkFiles(tmp_path / "chunks"), Event()

    def write(number: int) -> None:
        index = 0
        while not over.is_set():
            index += 1
            with suppress(StoreError):  # its shelf went
                files.keep("shelf", number, index, b"chunk")

    with ThreadPoolExecutor(TOGETHER) as threads:
        writing = [threads.submit(write, number) for number in range(TOGETHER)]
        try:
            for _ in range(REMOVALS):
                files.remove("shelf")
        finally:
            over.set()
        for each in writing:
            each.result()
    files.remove("shelf")
    assert not (tmp_path / "chunks" / "shelf").exists()


def test_tidying_takes_what_a_crash_left_and_not_what_is_being_written(tmp_path: Path) -> None:
    """A node tidies at its start, while desks hand files over already."""
    files, over = ChunkFiles(tmp_path / "chunks"), Event()
    files.keep("shelf", 9, 0, b"chunk")
    left = tmp_path / "chunks" / "shelf" / ".9-00001.0123456789ab"
    left.write_bytes(b"half a ch")

    def tidy() -> None:
        while not over.is_set():
            files.tidy()

    with ThreadPoolExecutor(1) as threads:
        tidying = threads.submit(tidy)
        try:
            for index in range(REMOVALS):
                assert files.keep("shelf", 0, index, b"chunk")
        finally:
            over.set()
        tidying.result()
    assert not left.exists()
    assert files.first_missing("shelf", 0, REMOVALS) == REMOVALS
