"""A node's room for received files, divided among those who may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.admission.room import FULL, SHARE_FULL, Room

SENDERS = frozenset({"SG", "TH", "VN"})
WISHES = st.lists(st.tuples(st.sampled_from(sorted(SENDERS)), st.integers(1, 40)), max_size=60)


def room(total: int = 120, **taken: int) -> Room:
    """Shares of 20, and 60 for whoever comes, of which one sender has 30 at most."""
    return Room(total, SENDERS, taken)


@pytest.mark.parametrize(
    ("taken", "more", "expected"),
    [
        ({}, 120, ""),  # an empty room is kept from nobody
        ({}, 121, FULL),
        ({"SG": 10}, 40, ""),
        ({"SG": 10}, 41, SHARE_FULL),
        ({"SG": 50}, 1, SHARE_FULL),
        ({"TH": 50}, 50, ""),
        ({"TH": 50, "VN": 50}, 20, ""),  # what is its own is kept for it
        ({"TH": 50, "VN": 50}, 21, SHARE_FULL),
        ({"TH": 120}, 1, FULL),  # from when it had the room for itself
    ],
)
def test_a_sender_gets_its_share_and_some_of_what_is_nobodys(
    taken: dict[str, int], more: int, expected: str
) -> None:
    assert room(**taken).hindrance("SG", more) == expected


def test_who_alone_may_send_may_fill_it() -> None:
    alone = Room(120, frozenset({"SG"}), {"SG": 100})
    assert alone.hindrance("SG", 20) == ""
    assert alone.hindrance("SG", 21) == FULL


@given(WISHES)
def test_whatever_others_send_a_sender_has_its_share(wishes: list[tuple[str, int]]) -> None:
    taken = {"SG": 1, "TH": 1, "VN": 1}  # not empty: nobody had it for itself
    for sender, more in wishes:
        if not Room(120, SENDERS, taken).hindrance(sender, more):
            taken[sender] += more
    now = Room(120, SENDERS, taken)
    assert sum(taken.values()) <= now.total
    for sender, here in taken.items():
        assert here <= now.share + now.common // 2
        if here < now.share:
            assert now.hindrance(sender, now.share - here) == ""
