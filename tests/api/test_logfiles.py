"""The log over HTTP: what is there, byte for byte, and nothing beside it."""

from pathlib import Path

import httpx

from broker.api.logfiles import log_app
from broker.store.tilefiles import TileFiles
from tests.ledger.growing import a_log, entries


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


async def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(log_app(TileFiles(tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
        assert (await client.get("/checkpoint")).status_code == 404
