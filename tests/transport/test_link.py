"""The link against a real server: acknowledgements, expectations, full streams, lost lines."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.transport.errors import Refused, SequenceConflict, StreamFull, Unreachable
from broker.transport.link import Link
from tests.support.hub import BOUND_S, RunningHub

pytestmark = pytest.mark.hub


@pytest_asyncio.fixture
async def member(hub: RunningHub) -> AsyncIterator[Link]:
    async with hub.member_link("SG") as link:
        await link.wait_connected(BOUND_S)
        yield link


async def test_a_members_submission_reaches_the_gateway_and_its_mail_the_member(
    link: Link, member: Link
) -> None:
    ack = await member.publish_acked("submit.SG.normal.1", b"sealed", msg_id="a.1")
    assert (ack.stream, ack.duplicate) == ("SUBMIT_SG", False)
    pulled = await link.pull("SUBMIT_SG", "GATEWAY-normal", batch=10, timeout_s=2)
    assert [message.payload for message in pulled] == [b"sealed"]
    assert pulled[0].attempts == 1
    await pulled[0].ack()
    await link.publish_acked("deliver.SG.normal.2", b"mail", msg_id="b", headers={"X": "y"})
    await link.publish_acked("receipt.SG.1", b"receipt", msg_id="c")
    got = await member.pull("INBOX_SG_normal", "normal", batch=10, timeout_s=2)
    assert [(m.subject, m.payload, m.headers["X"]) for m in got] == [
        ("deliver.SG.normal.2", b"mail", "y")
    ]
    await got[0].ack()
    told = await member.pull("RECEIPT_SG", "SG", batch=10, timeout_s=2)
    assert [m.payload for m in told] == [b"receipt"]


async def test_many_messages_wait_and_a_pull_takes_them_at_once(link: Link, member: Link) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(
                member.publish_acked(f"submit.SG.normal.{number}", b"x", msg_id=str(number))
            )
    seen: set[str] = set()
    while len(seen) < 200:
        for message in await link.pull("SUBMIT_SG", "GATEWAY-normal", batch=64, timeout_s=2):
            seen.add(message.subject)
            await message.ack()
    assert await link.pull("SUBMIT_SG", "GATEWAY-normal", batch=64, timeout_s=0.2) == []


async def test_a_message_given_back_comes_again_with_its_count(link: Link, member: Link) -> None:
    await member.publish_acked("submit.SG.urgent.1", b"x", msg_id="1")
    first = await link.pull("SUBMIT_SG", "GATEWAY-urgent", batch=1, timeout_s=2)
    await first[0].nak()
    again = await link.pull("SUBMIT_SG", "GATEWAY-urgent", batch=1, timeout_s=2)
    assert again[0].attempts == 2


async def test_only_the_first_message_stands_on_an_audit_subject(link: Link) -> None:
    subject = "audit.2026.SG.one"
    await link.publish_acked(subject, b"first", msg_id="1", expect_last_subject_seq=0)
    with pytest.raises(SequenceConflict):
        await link.publish_acked(subject, b"second", msg_id="2", expect_last_subject_seq=0)
    standing = await link.get_last("AUDIT_2026", subject)
    assert standing is not None
    assert standing.payload == b"first"
    assert await link.get_last("AUDIT_2026", "audit.2026.SG.none") is None


async def test_a_known_message_id_is_a_duplicate(link: Link) -> None:
    await link.publish_acked("deliver.MY.normal.1", b"x", msg_id="same")
    assert (await link.publish_acked("deliver.MY.normal.1", b"x", msg_id="same")).duplicate


async def test_a_full_inbox_says_so_and_others_are_not_touched(link: Link) -> None:
    big = bytes(600 * 1024)
    with pytest.raises(StreamFull):
        await _fill(link, "deliver.MY.normal", big)
    await link.publish_acked("deliver.SG.normal.1", big, msg_id="1")


async def _fill(link: Link, subject: str, payload: bytes) -> None:
    for number in range(64):
        await link.publish_acked(f"{subject}.{number}", payload, msg_id=str(number))


async def test_what_no_stream_takes_is_unreachable(link: Link) -> None:
    with pytest.raises(Unreachable):
        await link.publish_acked("nowhere.at.all", b"x", msg_id="1")
    with pytest.raises(Refused):
        await link.api("STREAM.INFO.NONE", {})


async def test_what_is_too_large_is_refused_and_costs_no_connection(member: Link) -> None:
    client = member._client
    with pytest.raises(Refused):
        await member.publish_acked("submit.SG.normal.1", bytes(1024 * 1024), msg_id="1")
    with pytest.raises(Refused):  # below what the server takes, above what the stream does
        await member.publish_acked("submit.SG.normal.1", bytes(700 * 1024), msg_id="1")
    await member.publish_acked("submit.SG.normal.1", b"x", msg_id="1")
    assert member._client is client


async def test_the_link_comes_back_after_the_server_was_killed(
    hub: RunningHub, link: Link, member: Link
) -> None:
    await member.publish_acked("submit.SG.normal.1", b"kept", msg_id="1")
    await hub.server.stop(kill=True)
    with pytest.raises(Unreachable):
        await member.publish_acked("submit.SG.normal.2", b"x", msg_id="2", timeout_s=1)
    await hub.server.start()
    await member.wait_connected(BOUND_S)
    await link.wait_connected(BOUND_S)
    pulled = await link.pull("SUBMIT_SG", "GATEWAY-normal", batch=10, timeout_s=5)
    assert [message.payload for message in pulled] == [b"kept"]


async def test_a_connection_that_ends_unsaid_is_noticed(hub: RunningHub, member: Link) -> None:
    """The library may wait for ever for bytes to leave, and never say that the server died."""
    client = member._client
    assert client is not None
    client._disconnected_cb = client._closed_cb = None
    await hub.server.stop(kill=True)
    await hub.server.start()
    async with asyncio.timeout(BOUND_S):
        while member._client in (None, client):  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.02)
    await member.wait_connected(BOUND_S)
    await member.publish_acked("submit.SG.normal.1", b"x", msg_id="1")


async def test_a_closed_client_is_replaced(member: Link) -> None:
    client = member._client
    assert client is not None
    await client.close()
    await member.wait_connected(BOUND_S)
    assert member._client is not client
    await member.publish_acked("submit.SG.normal.1", b"x", msg_id="1")


async def test_services_answer_and_an_unserved_request_ends_in_time(
    link: Link, member: Link
) -> None:
    async def answer(subject: str, payload: bytes) -> bytes:
        return subject.encode() + b" " + payload

    await link.serve("hub.SG.time", answer)
    assert await member.request("hub.SG.time", b"?") == b"hub.SG.time ?"
    with pytest.raises(Unreachable):
        await member.request("hub.SG.nothing", b"?", timeout_s=1)


async def test_a_suspended_member_is_cut_off_and_let_in_again(
    hub: RunningHub, member: Link
) -> None:
    await hub.enrol("SG", connections=0)
    with pytest.raises(Unreachable):
        await _ask_until_refused(member)
    await hub.enrol("SG")
    await member.wait_connected(BOUND_S)
    await member.publish_acked("submit.SG.normal.1", b"x", msg_id="1")


async def _ask_until_refused(member: Link) -> None:
    async with asyncio.timeout(BOUND_S):
        for number in range(10_000):
            await member.publish_acked("submit.SG.normal.0", b"x", msg_id=f"ask-{number}")
