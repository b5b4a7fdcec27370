"""Chunks in a folder: each written once, whichever of several comes first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from broker.store.chunkfiles import ChunkFiles
from keys.files import add_file

PLACES = 20
TOGETHER = 4


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
