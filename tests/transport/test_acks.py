"""The multiplexer of answers: what is lost, late, doubled or meant for another connection."""

import asyncio

import pytest
from nats.aio.msg import Msg

from broker.transport.acks import AckMultiplexer, Asked
from tests.support.hub import BOUND_S

NEVER_S = 0.01  # nothing is coming


def answer(reply: str, data: bytes = b"") -> Msg:
    return Msg(_client=None, subject=reply, data=data)  # type: ignore[arg-type] # it never answers


@pytest.fixture
async def acks() -> AckMultiplexer:
    multiplexer = AckMultiplexer()
    multiplexer.opened("inbox")
    return multiplexer


async def told(asked: Asked, timeout_s: float = BOUND_S) -> list[bytes | None]:
    await asked.wait(timeout_s)
    return [None if each is None else each.data for each in asked.answers]


async def test_each_answer_reaches_its_question_in_whatever_order_they_come(
    acks: AckMultiplexer,
) -> None:
    first, second = acks.ask(2), acks.ask(1)
    for reply, data in zip(
        (first.replies[1], second.replies[0], first.replies[0]), (b"b", b"c", b"a"), strict=True
    ):
        acks.arrived(answer(reply, data))
    assert await told(first) == [b"a", b"b"]
    assert await told(second) == [b"c"]


async def test_a_lost_answer_holds_up_nobody_else_and_the_others_of_its_group_are_kept(
    acks: AckMultiplexer,
) -> None:
    group, other = acks.ask(3), acks.ask(1)
    for reply in (group.replies[0], group.replies[2], other.replies[0]):
        acks.arrived(answer(reply, b"x"))
    assert await told(other) == [b"x"]
    assert await told(group, NEVER_S) == [b"x", None, b"x"]


async def test_a_second_answer_neither_replaces_the_first_nor_counts_for_another(
    acks: AckMultiplexer,
) -> None:
    group = acks.ask(2)
    for data in (b"first", b"again"):
        acks.arrived(answer(group.replies[0], data))
    assert await told(group, NEVER_S) == [b"first", None]


async def test_a_late_answer_meets_nobody(acks: AckMultiplexer) -> None:
    given_up = acks.ask(1)
    assert await told(given_up, NEVER_S) == [None]
    acks.forget(given_up)
    assert len(acks) == 0
    next_one = acks.ask(1)
    acks.arrived(answer(given_up.replies[0], b"late"))
    assert await told(next_one, NEVER_S) == [None]
    assert given_up.answers == [None]


async def test_an_answer_after_the_last_moment_but_before_it_is_forgotten_raises_nothing(
    acks: AckMultiplexer,
) -> None:
    asked = acks.ask(1)
    await asked.wait(NEVER_S)
    acks.arrived(answer(asked.replies[0], b"late"))
    acks.forget(asked)
    assert len(acks) == 0


async def test_a_lost_connection_lets_everybody_go_at_once(acks: AckMultiplexer) -> None:
    waiting = [acks.ask(2), acks.ask(1)]
    acks.arrived(answer(waiting[0].replies[0], b"x"))
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        for each in waiting:
            group.create_task(each.wait(2 * BOUND_S))
        await asyncio.sleep(0)  # until they wait
        acks.lost()
    assert [[got is not None for got in each.answers] for each in waiting] == [
        [True, False],
        [False],
    ]


async def test_no_answer_of_an_earlier_connection_is_taken_for_one_of_this(
    acks: AckMultiplexer,
) -> None:
    before = acks.ask(1)
    acks.lost()
    acks.forget(before)
    acks.opened("another")
    after = acks.ask(1)
    assert after.replies[0].startswith("another.")
    for reply in (before.replies[0], after.replies[0].replace("another", "inbox")):
        acks.arrived(answer(reply, b"stale"))
    assert await told(after, NEVER_S) == [None]
