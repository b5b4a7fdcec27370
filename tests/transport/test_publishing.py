"""Several publishes at one time against a real server: each has its own fate."""

import asyncio

import pytest

from broker.transport.errors import Refused, SequenceConflict, Unreachable
from broker.transport.link import Link
from broker.transport.message import ID_HEADER, Outgoing
from tests.support.hub import BOUND_S, RunningHub

pytestmark = pytest.mark.hub


def to(subject: str, payload: bytes = b"x") -> Outgoing:
    return Outgoing(subject, payload, {ID_HEADER: subject})


async def test_what_is_published_together_is_stored_each_in_its_stream(link: Link) -> None:
    copies = [to(f"deliver.{code}.normal.1") for code in ("SG", "MY")]
    assert await link.publish_all(copies) == [True, True]
    for code in ("SG", "MY"):
        stored = await link.get_last(f"INBOX_{code}_normal", f"deliver.{code}.normal.1")
        assert stored is not None
    assert await link.publish_all([]) == []


async def test_a_full_inbox_is_told_apart_from_the_others_of_the_same_group(link: Link) -> None:
    big = bytes(600 * 1024)
    for number in range(64):
        group = [to(f"deliver.MY.normal.{number}", big), to(f"deliver.SG.normal.{number}")]
        taken, others = await link.publish_all(group)
        assert others
        if not taken:
            break
    else:
        pytest.fail("the inbox takes everything")


async def test_what_no_stream_takes_makes_the_outcome_unknown_and_leaves_nobody_waiting(
    link: Link,
) -> None:
    with pytest.raises(Unreachable):
        await link.publish_all([to("deliver.SG.normal.1"), to("nowhere.at.all")])
    assert await link.publish_all([to("deliver.SG.normal.1")]) == [True]


async def test_an_acknowledgement_that_never_comes_ends_in_time(link: Link) -> None:
    async def silent(_subject: str, _payload: bytes) -> None:
        return None

    await link.serve("silent.>", silent)  # somebody listens, so the server says nothing
    with pytest.raises(Unreachable):
        await link.publish_all([to("deliver.SG.normal.1"), to("silent.1")], timeout_s=0.2)
    assert len(link._acks) == 0


async def test_a_refused_message_of_a_group_is_an_error(link: Link) -> None:
    await link.publish_acked("audit.2026.SG.one", b"first", msg_id="1", expect_last_subject_seq=0)
    second = Outgoing(
        "audit.2026.SG.one", b"second", {ID_HEADER: "2", "Nats-Expected-Last-Subject-Sequence": "0"}
    )
    with pytest.raises(SequenceConflict):
        await link.publish_all([to("deliver.SG.normal.1"), second])
    with pytest.raises(Refused):
        await link.publish_all([to("deliver.SG.normal.2", bytes(1024 * 1024))])


async def test_a_server_that_dies_meanwhile_leaves_nobody_waiting_and_comes_back(
    hub: RunningHub, link: Link
) -> None:
    async def silent(_subject: str, _payload: bytes) -> None:
        return None

    await link.serve("silent.>", silent)
    async with asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(_outcome(link, f"silent.{number}", timeout_s=10 * BOUND_S))
            for number in range(50)
        ]
        while len(link._acks) < len(waiting):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
        async with asyncio.timeout(BOUND_S):
            await hub.server.stop(kill=True)
            assert set(await asyncio.gather(*waiting)) == {"unreachable"}
    assert len(link._acks) == 0
    await hub.server.start()
    await link.wait_connected(BOUND_S)
    assert await link.publish_all([to("deliver.SG.normal.9")]) == [True]


async def _outcome(link: Link, subject: str, *, timeout_s: float) -> str:
    try:
        await link.publish_all([to(subject)], timeout_s=timeout_s)
    except Unreachable as error:
        return error.code
    return "stored"
