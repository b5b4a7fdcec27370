"""What one row of the crash-point table says of a writer of durable state."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Writer:
    """How one kind of state is made, changed and looked at.

    Attributes:
        look: Whether the change is there; raises if what is there cannot be used.
    """

    prepare: Callable[[Path], None]
    change: Callable[[Path], None]
    look: Callable[[Path], bool]


def nothing(folder: Path) -> None:
    """What is written there needs nothing to be there before."""
