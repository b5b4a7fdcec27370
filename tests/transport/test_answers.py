"""JetStream's answers, which a member's node has from a hub that may say anything."""

import pytest
from nats.aio.msg import Msg

from broker.transport.answers import ack_of, check_stored
from broker.transport.errors import Refused, StreamFull, TransportError, Unreachable
from broker.transport.message import Ack


def message(raw: bytes) -> Msg:
    return Msg(_client=None, data=raw)  # type: ignore[arg-type] # it never answers


def read(raw: bytes) -> Ack:
    return ack_of(message(raw))


def test_an_acknowledgement_and_a_refusal_are_told_apart() -> None:
    assert read(b'{"stream": "S", "seq": 7}') == Ack("S", 7, duplicate=False)
    with pytest.raises(StreamFull):
        read(b'{"error": {"err_code": 10077, "description": "full"}}')


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"stream": "S"}',
        b'{"stream": 1, "seq": "x"}',
        b'{"error": "x"}',
        b'{"error": {"err_code": "x"}}',
        b"[" * 100_000,
    ],
    ids=lambda raw: raw[:30].decode(),
)
def test_what_is_no_answer_is_an_error_of_ours(raw: bytes) -> None:
    with pytest.raises(TransportError) as caught:
        read(raw)
    assert isinstance(caught.value, Refused)


def test_a_refusal_is_never_taken_for_stored() -> None:
    check_stored(message(b'{"stream":"S", "seq":7}'))
    check_stored(message(b'{"stream":"S", "seq":7,"duplicate": true}'))
    for refused in (
        b'{"error":{"err_code":10077,"description":"full"}}',
        b'{"stream":"S","error":{"err_code":10077,"description":"full"},"seq":0}',
        b'{"error":{"err_code":10077},"stream":"S","seq":0}',
    ):
        with pytest.raises(StreamFull):
            check_stored(message(refused))
    no_responders = Msg(_client=None, headers={"Status": "503"})  # type: ignore[arg-type] # likewise
    with pytest.raises(Unreachable):
        check_stored(no_responders)
