"""The log over HTTP: what is there, byte for byte, and nothing beside it."""

from pathlib import Path

import httpx

from broker.api.logfiles import log_app
from broker.ledger.standings import Standings
from broker.log.checkpoint import Checkpoint
from broker.store.tilefiles import TileFiles
from tests.ledger.growing import a_log, entries
from tests.ledger.test_cosigning import NOBODY


async def test_the_published_files_and_no_others_are_served(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 300), {})
        files = committer.files
        (tmp_path / "secret").write_bytes(b"secret")
        transport = httpx.ASGITransport(log_app(files))
        async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
            for path in ("checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"):
                found = await client.get(f"/{path}")
                assert (found.status_code, found.content) == (200, files.raw(path))
            assert (
                (await client.get("/checkpoint"))
                .headers["content-type"]
                .startswith("text/plain; charset=utf-8")
            )
            for path in (
                "cosigned",
                "checkpoints/1",
                "checkpoints/x",
                "tile/entries/001",
                "tile/0/0",
                "tile/../../secret",
                "tile/%2e%2e/%2e%2e/secret",
                "staging",
                "",
            ):
                assert (await client.get(f"/{path}")).status_code == 404, path
            assert (await client.post("/checkpoint")).status_code == 405


async def test_only_what_never_changes_is_kept_for_long(tmp_path: Path) -> None:
    """An older note is written again for each witness that cosigns it later."""
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 300), {})
        files = committer.files
        for name in ("cosigned", "checkpoints/300"):
            files.publish_note(name, files.checkpoint() or b"")
        transport = httpx.ASGITransport(log_app(files))
        async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
            for path in ("checkpoint", "cosigned", "checkpoints/300"):
                found = await client.get(f"/{path}")
                assert (found.status_code, found.headers["cache-control"]) == (
                    200,
                    "public, max-age=1",
                )
            assert "immutable" in (await client.get("/tile/0/000")).headers["cache-control"]


async def test_a_log_that_lacks_leaves_shows_nothing_until_it_has_them(tmp_path: Path) -> None:
    """The process that serves is another than the one that knows."""
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 300), {})
        standings = Standings(committer.files, lambda: NOBODY, borrows=True)
        transport = httpx.ASGITransport(log_app(TileFiles(committer.files.folder)))
        async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
            assert (await client.get("/checkpoint")).status_code == 200
            standings._hold(b"SG", Checkpoint("log", 301, bytes(32)))
            for path in ("checkpoint", "cosigned", "checkpoints/1", "tile/0/000"):
                found = await client.get(f"/{path}")
                assert (found.status_code, found.headers["retry-after"]) == (503, "10")
                assert found.headers["cache-control"] == "no-store"
            standings.complete()
            assert (await client.get("/checkpoint")).status_code == 200


async def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(log_app(TileFiles(tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
        assert (await client.get("/checkpoint")).status_code == 404
