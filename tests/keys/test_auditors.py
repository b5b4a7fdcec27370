"""The auditors' key is nobody's: a threshold of holders joins it; who brought rubbish is named."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.auditors import joined_key, parse_auditors, share_new_key
from keys.errors import KeyFileError

HOLDERS = ("SG", "MY", "VN", "TH")


def test_any_three_of_four_open_and_no_two() -> None:
    made = share_new_key(HOLDERS, threshold=3)
    file = parse_auditors(made.file.to_bytes())
    sealed = made.file.key
    for chosen in combinations(HOLDERS, 3):
        key = joined_key(file, {holder: made.shares[holder] for holder in chosen})
        assert key.public.raw == sealed
    for two in combinations(HOLDERS, 2):
        with pytest.raises(KeyFileError) as caught:
            joined_key(file, {holder: made.shares[holder] for holder in two})
        assert caught.value.code == "too-few-shares"


def test_no_share_is_the_key_or_another_share() -> None:
    made = share_new_key(HOLDERS, threshold=3)
    key = joined_key(made.file, made.shares)
    assert len({key.secret(), *made.shares.values()}) == 5


@pytest.mark.parametrize("place", [0, 95])
def test_a_damaged_a_foreign_and_an_exchanged_share_are_named(place: int) -> None:
    made, other = (share_new_key(HOLDERS, threshold=2) for _ in range(2))
    good = made.shares["SG"]
    flipped = bytearray(made.shares["MY"])
    flipped[place] ^= 1
    wrongs = (bytes(flipped), other.shares["MY"], made.shares["VN"], b"", good + b"x")
    for wrong in wrongs:
        with pytest.raises(KeyFileError) as caught:
            joined_key(made.file, {"SG": good, "MY": wrong})
        assert (caught.value.code, "MY" in str(caught.value)) == ("bad-share", True)
    with pytest.raises(KeyFileError) as caught:
        joined_key(made.file, {"SG": good, "XX": made.shares["MY"]})
    assert caught.value.code == "bad-share"


def test_a_file_that_marks_other_shares_gives_no_other_key() -> None:
    """Whoever writes the file can choose the marks; the key itself he cannot make fit."""
    made, other = (share_new_key(HOLDERS, threshold=2) for _ in range(2))
    forged = share_new_key(HOLDERS, threshold=2)
    with pytest.raises(KeyFileError):
        joined_key(made.file.model_copy(update={"key": other.file.key}), made.shares)
    with pytest.raises(KeyFileError):
        joined_key(made.file.model_copy(update={"shares": forged.file.shares}), made.shares)


@pytest.mark.parametrize(
    ("holders", "threshold", "code"),
    [
        (HOLDERS, 1, "bad-threshold"),
        (HOLDERS, 5, "bad-threshold"),
        (("SG", "SG"), 2, "bad-holders"),
    ],
)
def test_a_ceremony_that_protects_nothing_is_refused(
    holders: tuple[str, ...], threshold: int, code: str
) -> None:
    with pytest.raises(KeyFileError) as caught:
        share_new_key(holders, threshold=threshold)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse_auditors(raw)
    assert caught.value.code == "bad-auditors"
