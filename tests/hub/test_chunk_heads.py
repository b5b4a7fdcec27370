"""The head of an envelope's chunks, as the hub keeps it on its disk."""

import pytest

from broker import clock
from broker.hub.chunkstore import Head, parse_head
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
