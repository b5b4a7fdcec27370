"""Dates as they are known: a year, a month, a day or an interval. Source: ISO 8601-2 (EDTF).

The length of the string states its precision, so no second field can contradict it.
"""

import re
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.blocks.base import refuse
from schemas.label import Strict

_POINT: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_DECEMBER: Final = 12


class Calendar(StrEnum):
    """Calendar of the source; the value itself is always Gregorian."""

    GREGORIAN = "gregorian"
    BUDDHIST = "buddhist"


class Weekday(StrEnum):
    """Day of the week as the source gives it."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


def bounds(edtf: str) -> tuple[date, date]:
    """Return the first and the last day that `edtf` may mean.

    Raises:
        ValueError: Not YYYY, YYYY-MM, YYYY-MM-DD or two of them joined by a slash, in order.
    """
    first, slash, last = edtf.partition("/")
    earliest, until = _point(first)
    if slash:
        earliest_end, until = _point(last)
        if earliest_end < earliest:
            raise ValueError("an interval ends before it begins")
    return earliest, until


def _point(text: str) -> tuple[date, date]:
    match = _POINT.fullmatch(text)
    if match is None:
        raise ValueError("a date is YYYY, YYYY-MM, YYYY-MM-DD or two of them with a slash")
    year, month, day = (int(part) if part else None for part in match.groups())
    if year is None or year == 0:
        raise ValueError("there is no year 0")
    if month is None:
        return date(year, 1, 1), date(year, _DECEMBER, 31)
    if day is not None:
        return date(year, month, day), date(year, month, day)
    if month == _DECEMBER:
        return date(year, month, 1), date(year, month, 31)
    return date(year, month, 1), date(year, month + 1, 1) - timedelta(days=1)


def _edtf(value: str) -> str:
    try:
        bounds(value)
    except ValueError:
        refuse("not-a-date", "a date is YYYY, YYYY-MM, YYYY-MM-DD or two of them with a slash")
    return value


EDTF = Annotated[str, Field(max_length=21), AfterValidator(_edtf)]
Day = Annotated[str, Field(min_length=10, max_length=10), AfterValidator(_edtf)]
"""A full date: no other form of EDTF has ten characters."""

ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")]
Offset = Annotated[str, Field(pattern=r"^(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$")]


class When(Strict):
    """When something happened, no more precisely than is known.

    Attributes:
        edtf: A year, month, day or interval.
        time: Local time of day; only with a full date, and with its offset from UTC.
        offset: Offset from UTC, `Z` or `+07:00`.
        weekday: As the source gives it, so that a wrong date can be seen.
    """

    edtf: EDTF
    time: ClockTime | None = None
    offset: Offset | None = None
    weekday: Weekday | None = None

    @model_validator(mode="after")
    def _a_time_has_its_offset(self) -> Self:
        if (self.time is None) != (self.offset is None):
            refuse("time-without-offset", "a time of day needs its offset from UTC")
        if self.time is not None and bounds(self.edtf)[0] != bounds(self.edtf)[1]:
            refuse("time-without-day", "a time of day needs a full date")
        return self

    def doubts(self) -> tuple[str, ...]:
        """Return a code if the weekday is not the date's."""
        first, last = bounds(self.edtf)
        if self.weekday and first == last and list(Weekday)[first.weekday()] != self.weekday:
            return ("weekday-of-another-date",)
        return ()
