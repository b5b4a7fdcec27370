"""Times on the wire: integer milliseconds since 1970 UTC. Source: schemas/SPEC.md section 2."""

from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.errors import SchemaError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(moment: datetime) -> int:
    """Return the wire form of a timezone-aware `moment`, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def moment(wire: int) -> datetime:
    """Return the time that `wire` means, in UTC.

    Raises:
        SchemaError: Before 1970, or beyond the year 9999.
    """
    if wire < 0:
        raise SchemaError("bad-time", "a time before 1970 cannot be carried")
    try:
        return _EPOCH + wire * _MILLISECOND
    except OverflowError:
        raise SchemaError("bad-time", "a time beyond the year 9999 cannot be carried") from None
