"""Check digits: published examples hold, and any other last digit does not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import checkdigits as cd

Check = Callable[[str], str]

GOOD: list[tuple[Check, str, str]] = [
    (cd.check_imo, "9074729", "9074729"),
    (cd.check_imo, "IMO 9074729", "9074729"),
    (cd.check_container, "CSQU3054383", "CSQU3054383"),
    (cd.check_container, "csqu 305438-3", "CSQU3054383"),
    (cd.check_iban, "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    (cd.check_iban, "TL380080012345678910157", "TL380080012345678910157"),
    (cd.check_bic, "DEUTDEFF", "DEUTDEFF"),
    (cd.check_bic, "DBSSSGSGXXX", "DBSSSGSGXXX"),
    (cd.check_lei, "213800KUD8LAJWSQ9D15", "213800KUD8LAJWSQ9D15"),
    (cd.check_cas, "537-46-2", "537-46-2"),
    (cd.check_cas, "7722-64-7", "7722-64-7"),
    (cd.check_imei, "490154203237518", "490154203237518"),
    (cd.check_imsi, "525011234567890", "525011234567890"),
    (cd.check_phone, "+65 6555 0100", "+6565550100"),
    (cd.check_phone, "+67077212345", "+67077212345"),
    (cd.check_phone, "+959420012345", "+959420012345"),
    (cd.check_s10, "RB123456785GB", "RB123456785GB"),
    (cd.check_s10, "rb 12345678 5 gb", "RB123456785GB"),
    (cd.check_awb, "618-12345675", "618-12345675"),
    (cd.check_awb, "61812345675", "618-12345675"),
    (cd.check_vin, "1M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
]

BAD: list[tuple[Check, str]] = [
    (cd.check_imo, "9074728"),
    (cd.check_imo, "907472"),
    (cd.check_container, "CSQU3054384"),
    (cd.check_container, "CSQR3054383"),
    (cd.check_container, "123U3054383"),
    (cd.check_iban, "GB82WEST12345698765433"),
    (cd.check_iban, "ZZ82WEST12345698765432"),
    (cd.check_bic, "DEUTDEF"),
    (cd.check_bic, "DEUTD3FF"),
    (cd.check_lei, "213800KUD8LAJWSQ9D16"),
    (cd.check_cas, "537-46-3"),
    (cd.check_imei, "490154203237517"),
    (cd.check_imei, "49015420323751"),
    (cd.check_imsi, "1234"),
    (cd.check_phone, "065550100"),
    (cd.check_phone, "+0123456"),
    (cd.check_phone, "+651"),
    (cd.check_phone, "+99912345678"),
    (cd.check_phone, "+٦٥٦٥٥٥٠١٠٠"),
    (cd.check_s10, "RB123456786GB"),
    (cd.check_s10, "R1123456785GB"),
    (cd.check_awb, "618-12345676"),
    (cd.check_awb, "618-1234567"),
    (cd.check_vin, "1M8GDM9AXKP04278I"),
    (cd.check_vin, "1M8GDM9AXKP04278"),
]


@pytest.mark.parametrize(("check", "value", "compact"), GOOD)
def test_a_published_example_holds(check: Check, value: str, compact: str) -> None:
    assert check(value) == compact


@pytest.mark.parametrize(("check", "value"), BAD)
def test_a_wrong_one_is_refused_without_its_value(check: Check, value: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check(value)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("check", "body"),
    [
        (cd.check_imo, "907472"),
        (cd.check_container, "CSQU305438"),
        (cd.check_cas, "537-46-"),
        (cd.check_imei, "49015420323751"),
        (cd.check_awb, "618-1234567"),
    ],
)
def test_exactly_one_last_digit_fits(check: Check, body: str) -> None:
    assert sum(_holds(check, f"{body}{digit}") for digit in range(10)) == 1


@pytest.mark.parametrize("check", sorted({c for c, *_ in GOOD}, key=lambda c: c.__name__))
@given(value=st.text(max_size=40))
def test_any_text_gives_a_compact_form_or_a_value_error(check: Check, value: str) -> None:
    if _holds(check, value):
        assert check(check(value)) == check(value)


def test_a_north_american_vin_has_its_check_digit_and_a_european_one_need_not() -> None:
    assert cd.is_north_american_vin("1M8GDM9AXKP042788")
    assert not cd.is_north_american_vin("WVWZZZ1JZXW000001")


def test_a_phone_range_that_is_not_in_use_is_only_unlikely() -> None:
    assert cd.is_likely_phone(cd.check_phone("+6565550100"))
    assert not cd.is_likely_phone(cd.check_phone("+6511111111"))


def _holds(check: Check, value: str) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True
