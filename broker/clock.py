"""The clock at the edge. Rules take `now` as an argument; only processes ask here."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the machine's time, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the edge
