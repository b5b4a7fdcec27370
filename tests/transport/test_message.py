"""What a reply subject says of a message is the hub's claim; one odd one costs no other message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker.transport.errors import Refused
from broker.transport.link import Link
from broker.transport.message import Message
from tests.support.nodes import NOWHERE

GOOD = "$JS.ACK.INBOX_SG_normal.normal.3.17.5.1764163600000000000.0"
ODD = {
    "no stream": "_INBOX.x",
    "short": "$JS.ACK.a.b.1.2.3.4",
    "letters": "$JS.ACK.a.b.c.d.e.f.g",
    "empty tokens": "$JS.ACK.......",
    "negative": "$JS.ACK.a.b.-1.2.3.4.0",
    "underscored": "$JS.ACK.a.b.1_0.2.3.4.0",
    "other digits": "$JS.ACK.a.b.٣.2.3.4.0",
    "beyond the calendar": f"$JS.ACK.a.b.1.2.3.{10**20}.0",
    "longer than int reads": f"$JS.ACK.a.b.1.2.3.{'9' * 5000}.0",
    "begins alike": "$JS.ACKS.a.b.1.2.3.4.0",
}


async def _silent(_subject: str, _payload: bytes) -> None: ...


def of(reply: str) -> Message:
    return Message.of("deliver.SG.normal.1", b"x", None, reply, _silent)


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
def test_an_odd_reply_subject_is_refused(reply: str) -> None:
    with pytest.raises(Refused):
        of(reply)


@given(st.lists(st.text(st.characters(exclude_characters=".")), max_size=9))
def test_any_reply_subject_is_read_or_refused(tokens: list[str]) -> None:
    try:
        message = of(".".join(["$JS", "ACK", *tokens]))
    except Refused:
        return
    assert message.attempts >= 0


def test_what_the_server_writes_is_read() -> None:
    message = of(GOOD)
    assert (message.attempts, message.stream_seq) == (3, 17)
    assert message.timestamp.year == 2025
    last = "9" * 20
    assert of(f"$JS.ACK.hub.hash.s.c.{last}.{last}.{last}.{last}.0").timestamp.year == 5138


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
async def test_one_message_that_cannot_be_acknowledged_costs_no_other(reply: str) -> None:
    client = Client()
    batch = [
        Msg(client, subject=f"deliver.SG.normal.{number}", reply=each, data=b"x")
        for number, each in enumerate((GOOD, reply, GOOD))
    ]

    async def pull() -> tuple[list[Msg], Msg | None]:
        return batch, None

    messages = await Link(NOWHERE)._pulled(pull())
    assert [each.subject for each in messages] == ["deliver.SG.normal.0", "deliver.SG.normal.2"]
