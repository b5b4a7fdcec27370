"""What one alert costs: a table made from a run's rates, so that no text has to name them.

It is made from numbers as the run's table shows them: so it is the same from page and JSON.
"""

from collections.abc import Sequence
from typing import Any, Final

from tests.bench.results import number

COSTS: Final = (  # what costs it, and the row whose rate says how much
    ("bare loop: an alert to three recipients", "a", "bare loop, per second of processor"),
    ("gateway worker: the same", "a", "our worker, per second of processor"),
    ("nats-server beside one worker: the same", "a", "nats-server with one worker, likewise"),
    ("node without a server: an alert sent to three", "c", "sending node"),
    ("node without a server: one received and answered", "c", "receiving node"),
    ("node that drains: one received and answered", "e", "per second of the node's processor"),
)


def costs(parts: Sequence[dict[str, Any]]) -> str:
    """A row for each cost, in milliseconds of processor under each setting of the store."""
    lines = ["| who, and what | milliseconds of processor |", "|---|---|"]
    for what, letter, begin in COSTS:
        found = [
            f"{number(1000 / _shown(row['value']))}{f' ({sync})' if sync else ''}"
            for part in parts
            if part["part"] == letter
            for sync in [part["sync_interval"]]
            for row in part["rows"]
            if row["what"].startswith(begin) and _shown(row["value"]) > 0
        ]
        lines.append(f"| {what} | {', '.join(found) or 'not told by this run'} |")
    return "\n".join(lines)


def _shown(value: float) -> float:
    return float(number(value).replace(",", ""))
