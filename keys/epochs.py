"""Epochs of encryption keys: calendar months in UTC. Pure arithmetic."""

from datetime import UTC, datetime, timedelta
from typing import Final

AHEAD: Final = 3  # epochs published beyond the current one, so that a node may be away a quarter
KEPT_AFTER: Final = timedelta(days=90)  # how long a private key outlives its epoch


def epoch_of(moment: datetime) -> str:
    """Return the epoch that holds `moment`, for example `2026-11`."""
    return moment.astimezone(UTC).strftime("%Y-%m")


def bounds(epoch: str) -> tuple[datetime, datetime]:
    """Return first instant of `epoch` and first instant after it."""
    start = datetime.strptime(epoch, "%Y-%m").replace(tzinfo=UTC)
    return start, (start + timedelta(days=31)).replace(day=1)


def wanted(now: datetime) -> tuple[str, ...]:
    """Return the current epoch and those to be published ahead."""
    epochs = [epoch_of(now)]
    for _ in range(AHEAD):
        epochs.append(epoch_of(bounds(epochs[-1])[1]))
    return tuple(epochs)


def past_keeping(epoch: str, *, now: datetime) -> bool:
    """Return whether the private key of `epoch` must be destroyed by `now`."""
    return now >= bounds(epoch)[1] + KEPT_AFTER
