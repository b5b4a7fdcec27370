"""Addresses of wallets. Vectors: BIP-173, BIP-350, BIP-13 and the TRON documentation."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.wallets import check_bitcoin, check_ethereum, check_segwit, check_tron

GOOD = [
    (check_bitcoin, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (check_bitcoin, "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"),
    (check_bitcoin, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    (check_bitcoin, "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"),
    (check_bitcoin, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    (check_bitcoin, "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y"),
    (check_bitcoin, "BC1SW50QGDZ25J"),
    (check_tron, "TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMW"),
    (check_ethereum, "0x52908400098527886E0F7030069857D2E4169EE7"),
]

BAD = [
    (check_bitcoin, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"),
    (check_bitcoin, "TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMW"),
    (check_bitcoin, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"),
    (check_bitcoin, "bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    (check_bitcoin, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd"),  # bech32 sum
    (check_bitcoin, "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P"),  # v0 program of 16 bytes
    (check_bitcoin, "bc1pw5dgrnzv"),  # program of one byte
    (check_bitcoin, "bc1gmk9yu"),  # empty data
    (check_bitcoin, "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du"),  # padding
    (check_bitcoin, ""),
    (check_tron, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (check_tron, "TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMX"),
    (check_ethereum, "0x52908400098527886E0F7030069857D2E4169EE"),
    (check_ethereum, "52908400098527886E0F7030069857D2E4169EE7"),
]


@pytest.mark.parametrize(("check", "address"), GOOD)
def test_a_published_address_holds(check: Callable[[str], str], address: str) -> None:
    assert check(address).lower() == address.lower()


@pytest.mark.parametrize(("check", "address"), BAD)
def test_a_wrong_address_is_refused(check: Callable[[str], str], address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check(address)


def test_an_address_of_another_network_is_refused() -> None:
    address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    assert check_segwit(address, "tb") == address
    with pytest.raises(ValueError, match="this network"):
        check_segwit(address, "bc")


@pytest.mark.parametrize("check", [check_bitcoin, check_tron, check_ethereum])
@given(value=st.text(max_size=100) | st.text("bc1qpzry9x8gf2tvdw0s3jn54khce6mua7l", max_size=95))
def test_any_text_gives_an_address_or_a_value_error(
    check: Callable[[str], str], value: str
) -> None:
    try:
        assert check(value).lower() == value.lower()
    except ValueError:
        return


@given(at=st.integers(4, 41), to=st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_changed_character_of_a_segwit_address_is_found(at: int, to: str) -> None:
    good = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    changed = good[:at] + to + good[at + 1 :]
    if changed != good:
        with pytest.raises(ValueError, match="checksum"):
            check_bitcoin(changed)
