"""Alive and ready are two things: without its hub a node is not ready, and desks still queue."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from broker import clock
from broker.api import Scope, TokenBook, create_app
from broker.api.limits import Limits
from broker.api.routes import probes
from broker.node.node import Node
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import opened_node
from tests.support.region import make_region

pytestmark = pytest.mark.hub


@asynccontextmanager
async def scene(
    tmp_path: Path, *, limits: Limits | None = None
) -> AsyncIterator[tuple[RunningHub, Node, httpx.AsyncClient, str]]:
    """A hub, a node at work, a client without a token, and a token that may monitor."""
    region = make_region(("SG", "MY"), now=clock.now())
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        opened_node(hub, "SG", tmp_path) as node,
    ):
        book = TokenBook(node.database)
        _, token = await book.add("watch", frozenset({Scope.MONITOR}), now=clock.now())
        transport = httpx.ASGITransport(create_app(node, book, limits=limits))
        async with (
            node.running(),
            httpx.AsyncClient(transport=transport, base_url="http://node") as client,
        ):
            await node.link.wait_connected(BOUND_S)
            yield hub, node, client, token


async def test_readiness_names_what_fails_and_a_desk_may_queue_without_the_hub(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as (hub, node, client, _):
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"ok": True, "connected": True, "directory": True, "writes": True},
        )
        await hub.server.stop(kill=True)
        async with asyncio.timeout(BOUND_S):
            while node.link.connected:  # noqa: ASYNC110 - the link tells nobody
                await asyncio.sleep(0.01)
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["connected"]) == (503, False)
        assert ready.json()["writes"]
        for path in ("/healthz", "/readyz?for=desks"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/readyz?for=nobody")).status_code == 422


async def test_a_database_that_takes_no_write_is_not_ready_even_for_desks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "WRITE_S", 0.2)
    async with scene(tmp_path) as (_, _, client, _):
        # In a thread: the node's own change may hold the lock, and ends in this loop.
        with closing(
            sqlite3.connect(tmp_path / "SG.db", isolation_level=None, check_same_thread=False)
        ) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            for path in ("/readyz", "/readyz?for=desks"):
                assert (await client.get(path)).status_code == 503, path
            assert (await client.get("/healthz")).status_code == 200
            other.execute("ROLLBACK")
        async with asyncio.timeout(BOUND_S):
            while (await client.get("/readyz?for=desks")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    limits = Limits(requests_per_s=0.1, burst=3, failures_per_s=0.1)
    async with scene(tmp_path, limits=limits) as (_, _, client, token):
        headers = {"authorization": f"Bearer {token}"}
        answers = [await client.get("/v1/status", headers=headers) for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["code"] == "too-many-requests"
        assert answers[-1].json()["retry"] == "later"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        guesses = [
            await client.get("/v1/status", headers={"authorization": f"Bearer wrong-{n}"})
            for n in range(5)
        ]
        assert [each.status_code for each in guesses] == [401, 401, 401, 429, 429]


async def test_metrics_need_the_scope_and_say_how_long_until(tmp_path: Path) -> None:
    async with scene(tmp_path) as (_, node, client, token):
        assert (await client.get("/metrics")).status_code == 401
        text = (await client.get("/metrics", headers={"authorization": f"Bearer {token}"})).text
        (left,) = (
            float(line.split()[1])
            for line in text.splitlines()
            if line.startswith("kentong_node_directory_expires_in_seconds ")
        )
        fresh_until = node.present.view.fresh_until
        assert left == pytest.approx((fresh_until - clock.now()).total_seconds(), abs=10)
