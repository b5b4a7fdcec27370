"""A part of a file is as long as was asked for, and what is known need not be sent."""

import pytest

from broker.errors import BrokerError
from broker.transport.services import MAX_PIECE_BYTES, piece_for, read_fields
from keys.primitives.hashing import sha256
from schemas import canonical

FILE = bytes(range(256)) * 4096


def answered(**asked: canonical.Value) -> dict[str, canonical.Value]:
    return dict(read_fields(piece_for(FILE, canonical.encode(asked))))


def test_a_piece_is_no_longer_than_was_asked_for_and_than_the_hub_gives() -> None:
    assert answered(offset=256, most=3)["data"] == b"\0\1\2"
    assert len(bytes(answered(offset=0)["data"])) == MAX_PIECE_BYTES  # type: ignore[arg-type]
    assert answered(offset=0, most=2**40) == answered(offset=0)
    assert answered(offset=len(FILE), most=7)["data"] == b""


def test_a_file_that_is_known_is_not_sent_again() -> None:
    assert answered(offset=0, unless=sha256(FILE)) == {"same": True}
    assert answered(offset=0, unless=sha256(b"another")) == answered(offset=0)


@pytest.mark.parametrize(
    "asked",
    [{}, {"offset": -1}, {"offset": True}, {"offset": "0"}, {"offset": 0, "most": 0},
     {"offset": 0, "most": -5}, {"offset": 0, "most": b"1"}],
)  # fmt: skip
def test_what_asks_for_nothing_is_refused(asked: dict[str, canonical.Value]) -> None:
    with pytest.raises(BrokerError) as refused:
        answered(**asked)
    assert refused.value.code == "bad-request"
