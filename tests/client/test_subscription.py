"""Receiving by the SDK: nothing lost and nothing skipped, whoever is restarted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from broker import clock
from broker.api import Limits, Scope
from broker.client import (
    BadAnswer,
    BrokerError,
    Client,
    Conflict,
    Item,
    NotAuthorised,
    NotFound,
    ProblemError,
    Refused,
    Subscription,
    Unavailable,
    Unreachable,
)
from broker.client.connection import Connection, Where
from broker.client.errors import error_of
from schemas.desk import CursorAck, NodeStatus, Problem
from tests.support.databases import Databases
from tests.support.desks import Desks, Stage, offered, running_stage
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, running_hub
from tests.support.nodes import opened_node, running_node
from tests.support.region import make_region

pytestmark = [
    pytest.mark.hub,
    pytest.mark.usefixtures("databases_of_module"),
    pytest.mark.asyncio(loop_scope="module"),
]
TYPES = ("drugs", "cyber", "drugs", "cyber", "drugs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    databases_of_module: Databases,  # noqa: ARG001 - where its nodes keep their state
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stage]:
    async with running_stage(tmp_path_factory.mktemp("stage")) as stage:
        await stage.arrive(*TYPES)
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(stage: Stage) -> AsyncIterator[Desks]:
    async with offered(stage.my, stage.folder / "my.sock") as desks:
        yield desks


@pytest_asyncio.fixture(loop_scope="module")
async def client(desks: Desks) -> AsyncIterator[Client]:
    async with desks.client(await desks.token("case")) as client:
        yield client


async def take(subscription: Subscription, count: int) -> list[Item]:
    async with asyncio.timeout(BOUND_S):
        return [await anext(subscription) for _ in range(count)]


async def place(client: Client, name: str) -> int:
    return (await client.cursor(name)).position


async def test_a_reader_that_is_restarted_goes_on_after_what_it_acknowledged(
    desks: Desks,
) -> None:
    token = await desks.token("restarted")
    async with desks.client(token) as first:
        items = await take(first.subscribe(cursor="c"), 4)
        assert [item.shown.type for item in items] == list(TYPES[:4])
        for item in items[:2]:
            await item.ack()
    async with desks.client(token) as second:  # as if the first had been killed
        again = await take(second.subscribe(cursor="c"), 3)
        assert [item.id for item in again[:2]] == [item.id for item in items[2:]]
        assert again[0].alert == items[2].alert


async def test_acknowledging_out_of_order_skips_nothing(client: Client) -> None:
    items = await take(client.subscribe(cursor="order"), 4)
    positions = [item.position for item in items]
    await items[2].ack()
    await items[1].ack()
    assert await place(client, "order") == 0
    await items[0].ack()
    assert await place(client, "order") == positions[2]
    await items[0].ack()  # again, and late
    assert await place(client, "order") == positions[2]
    await items[3].ack()
    assert await place(client, "order") == positions[3]


async def test_of_one_type_alone_the_others_are_passed_over(client: Client) -> None:
    items = await take(client.subscribe("cyber", cursor="cyber-only"), 2)
    assert [item.shown.type for item in items] == ["cyber", "cyber"]
    for item in items:
        await item.ack()
    assert await place(client, "cyber-only") == items[1].position


async def test_reading_moves_no_cursor_and_a_reader_without_one_acknowledges_nothing(
    client: Client,
) -> None:
    await take(client.subscribe(cursor="reads"), 3)
    assert await place(client, "reads") == 0
    (item,) = await take(client.subscribe(since=0), 1)
    with pytest.raises(ValueError, match="without a cursor"):
        await item.ack()
    with pytest.raises(ValueError, match="name a cursor"):
        client.subscribe("drugs")


async def test_a_node_that_is_restarted_loses_no_reader_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        await stack.enter_async_context(running_gateway(hub))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        socket = tmp_path / "api.sock"
        async with (
            opened_node(hub, "MY", tmp_path) as my,
            my.running(),
            offered(my, socket) as desks,
        ):
            token = await desks.token("steady")
            client = await stack.enter_async_context(desks.client(token))
            stage = Stage(hub, tmp_path, sg, my)
            sent = await stage.arrive("drugs", "cyber")
            subscription = client.subscribe(cursor="c")
            items = await take(subscription, 1)
            await items[0].ack()
        async with desks.client(token, patience_s=0) as hasty:
            with pytest.raises(Unreachable) as caught:
                await hasty.node_status()
            assert caught.value.retry == "later"
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(take(subscription, 2))
            async with running_node(hub, "MY", tmp_path) as my, offered(my, socket):
                sent += await Stage(hub, tmp_path, sg, my).arrive("drugs")
                await asyncio.wait({reading})
                assert await place(client, "c") == items[0].position
        assert [item.id for item in (*items, *reading.result())] == sent


async def test_an_alert_that_arrives_wakes_the_reader(stage: Stage, desks: Desks) -> None:
    async with desks.client(await desks.token("live")) as client:
        start = (await client.node_status()).last_position
        subscription = client.subscribe(since=start)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(take(subscription, 1))
            arrived = group.create_task(stage.arrive("trafficking"))
        assert [item.id for item in reading.result()] == arrived.result()


STATUS: list[tuple[int, type[ProblemError]]] = [
    (400, Refused),
    (401, NotAuthorised),
    (403, NotAuthorised),
    (404, NotFound),
    (408, Unavailable),
    (409, Conflict),
    (413, Refused),
    (415, Refused),
    (422, Refused),
    (429, Unavailable),
    (500, Unavailable),
    (503, Unavailable),
]


@pytest.mark.parametrize(("status", "kind"), STATUS)
async def test_each_status_is_an_error_that_says_what_to_do(
    status: int, kind: type[ProblemError]
) -> None:
    problem = Problem(title="t", status=status, detail="d", code="c", retry="later")
    error = error_of(problem, retry_after_s=3.0)
    assert type(error) is kind
    assert isinstance(error, BrokerError)
    assert (error.code, error.retry, error.status, error.retry_after_s) == ("c", "later", status, 3)


NOBODY = UUID(int=0)


async def test_what_the_node_refuses_says_whether_a_retry_is_safe(desks: Desks) -> None:
    reader = await desks.token("reader", (Scope.READ,))
    async with desks.client(reader) as client, desks.client("kentong_no_token") as stranger:
        for refused, kind, code in (
            (client.show(NOBODY), NotFound, "not-found"),
            (client.status(NOBODY), NotFound, "not-found"),
            (client.schema("wildlife"), NotFound, "unknown-type"),
            (stranger.inbox(), NotAuthorised, "bad-token"),
        ):
            with pytest.raises(kind) as caught:
                await refused
            assert (caught.value.code, caught.value.retry) == (code, "never")
        connection = Connection(Where(f"unix://{desks.socket}"), reader, patience_s=0)
        async with connection:
            with pytest.raises(Refused) as beyond:
                await connection.ask(
                    "POST", "/v1/cursors/c/ack", NodeStatus, body=CursorAck(position=10_000)
                )
            assert (beyond.value.code, beyond.value.retry) == ("beyond-the-inbox", "never")
            with pytest.raises(BadAnswer):
                await connection.ask("GET", "/v1/inbox", NodeStatus)


async def test_a_desk_that_asks_too_often_is_told_to_come_back(stage: Stage) -> None:
    limits = Limits(requests_per_s=0.01, burst=1)
    async with offered(stage.my, stage.folder / "slow.sock", limits=limits) as desks:
        token = await desks.token("eager")
        async with desks.client(token, patience_s=0) as client:
            await client.node_status()
            with pytest.raises(Unavailable) as caught:
                await client.node_status()
            assert (caught.value.code, caught.value.retry) == ("too-many-requests", "later")
            assert caught.value.retry_after_s


async def test_a_subscription_whose_token_is_refused_ends_with_that(desks: Desks) -> None:
    async with desks.client("kentong_no_token") as stranger:
        with pytest.raises(NotAuthorised):
            await take(stranger.subscribe(since=0), 1)
