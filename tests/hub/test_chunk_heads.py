"""The head of an envelope's chunks, as the hub keeps it on its disk."""

from dataclasses import replace

import pytest

from broker import clock
from broker.hub.chunkheads import Head, parse_head
from schemas import canonical
from schemas.errors import SchemaError
from schemas.moments import milliseconds, moment

UNTIL = moment(milliseconds(clock.now()))
HEAD = Head(("MY", "VN"), (4, 1), UNTIL, ("MY",))
ODD = {0: True, 1: ["MY", 7], 2: [4, "1"], 3: True, 4: [None]}


@pytest.mark.parametrize("place", ODD)
def test_a_head_of_which_a_part_is_of_another_kind_is_damaged(place: int) -> None:
    assert parse_head(HEAD.to_bytes()) == HEAD
    value = canonical.decode(HEAD.to_bytes(), max_bytes=1024)
    assert isinstance(value, list)
    value[place] = ODD[place]
    with pytest.raises(SchemaError):
        parse_head(canonical.encode(value))


def test_any_changed_bit_of_a_head_shows() -> None:
    """One may end its time, or take a recipient for one that has all: then the chunks would go."""
    raw = HEAD.to_bytes()
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SchemaError):
            parse_head(bytes(changed))


def test_a_head_from_before_there_was_a_digest_is_read_as_it_was() -> None:
    old = replace(HEAD, form=1)
    assert canonical.decode(old.to_bytes(), max_bytes=1024) == [
        1,
        ["MY", "VN"],
        [4, 1],
        milliseconds(UNTIL),
        ["MY"],
    ]
    assert parse_head(old.to_bytes()) == old
