"""Machine-readable zones. The specimens are those of ICAO Doc 9303, with Utopia as the state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.mrz import check_digit, check_lines

TD3 = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
)
TD1 = (
    "I<UTOD231458907<<<<<<<<<<<<<<<",
    "7408122F1204159UTO<<<<<<<<<<<6",
    "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
)
TD2 = (
    "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<",
    "D231458907UTO7408122F1204159<<<<<<<6",
)
VISA_A = (
    "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L8988901C4XXX4009078F96121096ZE184226B<<<<<<",
)
VISA_B = (
    "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<",
    "L8988901C4XXX4009078F9612109<<<<<<<<",
)
LONG_TD1 = (  # a number of twelve characters goes on in the optional field
    "I<UTOD23145890<7349<<<<<<<<<<<",
    "3407127M9507122UTO<<<<<<<<<<<2",
    "STEVENSON<<PETER<JOHN<<<<<<<<<",
)


@pytest.mark.parametrize(
    ("field", "digit"), [("L898902C3", "6"), ("740812", "2"), ("120415", "9"), ("<<<<", "0")]
)
def test_the_specimens_check_digits(field: str, digit: str) -> None:
    assert check_digit(field) == digit


@pytest.mark.parametrize("lines", [TD1, TD2, TD3, VISA_A, VISA_B, LONG_TD1])
def test_a_specimen_holds(lines: tuple[str, ...]) -> None:
    assert check_lines(lines) == lines


@pytest.mark.parametrize(
    ("lines", "line", "at"),
    [
        (TD3, 1, 1),  # number
        (TD3, 1, 9),
        (TD3, 1, 14),  # birth
        (TD3, 1, 22),  # expiry
        (TD3, 1, 30),  # optional data
        (TD3, 1, 42),
        (TD3, 1, 43),  # composite
        (TD1, 0, 6),
        (TD1, 0, 20),  # optional data is in the composite only
        (TD1, 1, 2),
        (TD1, 1, 9),
        (TD1, 1, 29),
        (TD2, 1, 3),
        (TD2, 1, 15),
        (TD2, 1, 23),
        (TD2, 1, 35),
        (LONG_TD1, 0, 18),
        (VISA_A, 1, 9),
        (VISA_B, 1, 19),
    ],
)
def test_a_changed_character_is_found(lines: tuple[str, ...], line: int, at: int) -> None:
    changed = list(lines)
    other = "1" if lines[line][at] != "1" else "2"
    changed[line] = lines[line][:at] + other + lines[line][at + 1 :]
    with pytest.raises(ValueError, match="check digit"):
        check_lines(tuple(changed))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("",),
        TD3[:1],
        (TD3[0], TD2[1]),
        (TD3[0][:-1], TD3[1][:-1]),
        (TD3[0], TD3[1].lower()),
        (TD3[0], TD3[1].replace("8", "\uff18")),
    ],
)
def test_another_shape_or_alphabet_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="machine-readable"):
        check_lines(lines)


@given(st.lists(st.text("<0AZ9", min_size=30, max_size=30), min_size=3, max_size=3))
def test_any_lines_hold_or_are_refused(lines: list[str]) -> None:
    try:
        assert check_lines(tuple(lines)) == tuple(lines)
    except ValueError:
        return
