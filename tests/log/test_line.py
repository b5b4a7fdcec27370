"""Base64 and numbers in a line: one spelling each, and nothing else is read."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.line import (
    MAX_NUMBER,
    read_base64,
    read_loose_base64,
    read_number,
    write_base64,
)


@given(st.binary(max_size=70))
def test_bytes_come_back_from_their_text(raw: bytes) -> None:
    assert read_base64(write_base64(raw), code="bad") == raw
    assert read_loose_base64(write_base64(raw), code="bad") == raw


@pytest.mark.parametrize(
    "text", ["A", "AA", "AAA", "AA=", "A===", "AAAA=", "====", "AA==AA==", "AA=A", "AA-_", "AAAA\n",
             " AAAA", "AA ==", "ÀAAA", "\u0661AAA"],
)  # fmt: skip
def test_what_is_no_base64_is_refused(text: str) -> None:
    for read in (read_base64, read_loose_base64):
        with pytest.raises(LogError) as caught:
            read(text, code="bad")
        assert caught.value.code == "bad"


@pytest.mark.parametrize("text", ["AB==", "AAB="])
def test_unused_bits_are_read_loosely_in_signatures_alone(text: str) -> None:
    assert set(read_loose_base64(text, code="bad")) == {0}
    with pytest.raises(LogError):
        read_base64(text, code="bad")


@given(st.integers(0, MAX_NUMBER))
def test_a_number_comes_back(number: int) -> None:
    assert read_number(str(number), code="bad") == number


@pytest.mark.parametrize(
    "text", ["", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1_0", "0x1", "1.0", "\u0661", "²",
             str(MAX_NUMBER + 1), "9" * 5000],
)  # fmt: skip
def test_another_spelling_of_a_number_is_refused(text: str) -> None:
    with pytest.raises(LogError):
        read_number(text, code="bad")


@given(st.text(max_size=30))
def test_any_text_gives_a_value_or_our_error(text: str) -> None:
    for read in (read_base64, read_loose_base64, read_number):
        with suppress(LogError):
            read(text, code="bad")
