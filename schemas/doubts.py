"""What is allowed in an alert but looks wrong: a warning to the officer, no refusal."""

from dataclasses import dataclass

from schemas.common import Alert
from schemas.walk import parts


@dataclass(frozen=True)
class Doubt:
    """A field and the code of what looks wrong with it; the value is not repeated."""

    field: str
    code: str


def doubts(alert: Alert) -> tuple[Doubt, ...]:
    """Return every doubt about `alert`, in the order of its fields."""
    found = []
    for path, part in parts(alert):
        report = getattr(part, "doubts", None)
        if callable(report):
            found += [Doubt(path, code) for code in report()]
    return tuple(found)
