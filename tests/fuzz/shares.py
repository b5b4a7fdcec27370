"""Which parsers a run of `make fuzz` takes, and how much of its time each of them gets."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

OUTSIDE: Final = frozenset(
    {
        "submitted", "delivered", "delivery", "arrival", "stanza", "padded", "content",
        "decision", "opened-decision", "leaf", "note", "note-line", "checkpoint",
        "tile", "entry-bundle", "cut-tile", "proof", "proof-verified",
        "attachment-open", "attachment-put", "attachment-get", "answered-get",
        "bundle", "bundle-trusted",
    }
)  # fmt: skip
"""What comes from members who may lie, from a hub that nobody trusts, or from any file."""
WEIGHT: Final = 6  # of each of them, against one of the others
WAYS: Final = 2  # bytes, and the choices by which parts are altered


class UnknownParserError(Exception):
    """A name that no parser has."""


def chosen(names: Collection[str], *, known: Iterable[str], usual: Iterable[str]) -> list[str]:
    """Return the parsers that are named, or the usual ones where none is.

    Raises:
        UnknownParserError: Not one of them is run then: whoever misspelt one would think it clean.
    """
    if not names:
        return list(usual)
    found = set(known)
    if missing := sorted(set(names) - found):
        these = ", ".join(missing)
        raise UnknownParserError(
            f"no parser is called {these}; there are: {' '.join(sorted(found))}"
        )
    return sorted(set(names))


def shares(names: Iterable[str], seconds: float) -> Mapping[str, int]:
    """Return the seconds that each of them gets in each way, at least one."""
    weights = {name: WEIGHT if name in OUTSIDE else 1 for name in names}
    unit = seconds / WAYS / sum(weights.values())
    return {name: max(1, round(unit * weight)) for name, weight in weights.items()}
