"""Which of a node's files a ferry follows: the newest, unless a clock that was ahead made it."""

from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.carry.form import CarryError, Header, To
from broker.carry.place import AHEAD, FerryPlace, check_made

NOW = clock.now()
MS = timedelta(milliseconds=1)


def header(ahead: timedelta) -> Header:
    made = int((NOW + ahead).timestamp() * 1000)
    return Header(To.HUB, "SG", f"made-{made}", made)


@pytest.fixture
def place(tmp_path: Path) -> FerryPlace:
    (tmp_path / "ferry").mkdir(mode=0o700)
    return FerryPlace(tmp_path)


def test_a_file_from_after_now_is_refused() -> None:
    check_made(header(AHEAD), now=NOW)
    with pytest.raises(CarryError) as caught:
        check_made(header(AHEAD + MS), now=NOW)
    assert caught.value.code == "carry-clock-ahead"


def test_the_newest_file_is_followed_and_an_older_one_is_not(place: FerryPlace) -> None:
    assert place.ask(header(-timedelta(hours=1)), (b"1" * 32,), now=NOW)
    assert place.ask(header(timedelta(0)), (b"2" * 32,), now=NOW)
    assert not place.ask(header(-timedelta(hours=1)), (), now=NOW)
    assert place.asked().done == ((b"2" * 32).hex(),)


def test_a_note_of_a_file_from_after_now_stands_in_nobodys_way(place: FerryPlace) -> None:
    wrong = header(timedelta(days=365))
    assert place.ask(wrong, (), now=NOW + timedelta(days=365))  # as an older version let it in
    assert place.ask(header(timedelta(0)), (b"2" * 32,), now=NOW)
    assert place.asked().done == ((b"2" * 32).hex(),)
