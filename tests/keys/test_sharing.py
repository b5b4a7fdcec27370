"""Any threshold of shares gives the secret; one fewer fits every secret there could be."""

from itertools import combinations
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyFileError
from keys.primitives.sharing import MAX_SHARES, join, split

Made: TypeAlias = tuple[bytes, int, dict[int, bytes]]
SECRETS = st.binary(min_size=1, max_size=12)


@st.composite
def shared(draw: st.DrawFn) -> Made:
    """A secret, its threshold, and its shares by number."""
    secret = draw(SECRETS)
    count = draw(st.integers(1, 6))
    threshold = draw(st.integers(1, count))
    shares = split(secret, threshold=threshold, shares=count)
    return secret, threshold, dict(enumerate(shares, start=1))


@given(shared())
def test_any_threshold_of_shares_gives_the_secret(
    made: Made,
) -> None:
    secret, threshold, shares = made
    for chosen in combinations(shares, threshold):
        assert join({x: shares[x] for x in chosen}) == secret
    assert join(shares) == secret  # more than enough is no harm


@given(shared(), st.data())
def test_one_share_fewer_fits_any_secret(made: Made, data: st.DataObject) -> None:
    """For any other secret there is a last share with which these give it: they tell nothing."""
    secret, threshold, shares = made
    if threshold == 1:
        return
    fewer = dict(list(shares.items())[: threshold - 1])
    other = data.draw(st.binary(min_size=len(secret), max_size=len(secret)))
    last = join({**fewer, 0: other}, at=MAX_SHARES)
    assert join({**fewer, MAX_SHARES: last}) == other


@given(shared())
def test_the_polynomial_through_the_shares_is_the_one_that_made_them(
    made: Made,
) -> None:
    secret, threshold, shares = made
    enough = dict(list(shares.items())[:threshold])
    for x, share in shares.items():
        assert join({**enough, 0: secret} if threshold == 1 else enough, at=x) == share


def test_shares_of_one_secret_differ_each_time() -> None:
    first = split(bytes(32), threshold=2, shares=2)
    assert first != split(bytes(32), threshold=2, shares=2)
    assert bytes(32) not in first


@pytest.mark.parametrize(("threshold", "shares"), [(0, 1), (3, 2), (1, MAX_SHARES + 1)])
def test_an_impossible_threshold_is_refused(threshold: int, shares: int) -> None:
    with pytest.raises(KeyFileError) as caught:
        split(b"secret", threshold=threshold, shares=shares)
    assert caught.value.code == "bad-threshold"


@pytest.mark.parametrize("shares", [{}, {1: b"a", 2: b"bc"}, {MAX_SHARES + 1: b"a"}])
def test_what_are_no_shares_is_refused(shares: dict[int, bytes]) -> None:
    with pytest.raises(KeyFileError) as caught:
        join(shares)
    assert caught.value.code == "bad-share"
