"""What an import made, and what of the source it did not carry over."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import BrokerError
from broker.importers.marking import Marking
from schemas.common import Alert

MAX_BYTES: Final = 4 * 1024 * 1024  # what sealed content may inflate to
MAX_DEPTH: Final = 32
_BOILERPLATE: Final = 3  # leaves shorter than this are found anywhere and prove nothing


class ImportRefusedError(BrokerError):
    """The source cannot be read as what it should be; nothing was made of it."""


@dataclass(frozen=True)
class Left:
    """One value of the source without a place in the alert.

    Attributes:
        path: Where it stands, list positions as `*`.
        count: How many values of that path were left.
    """

    path: str
    count: int


@dataclass(frozen=True)
class Imported:
    """An alert made from a source, the source itself, and what was left out of the alert.

    Attributes:
        marking: How far the source says that it may go.
    """

    alert: Alert
    original: bytes
    media_type: str
    left: tuple[Left, ...]
    marking: Marking


def read_json(raw: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the JSON in `raw`, which is not trusted.

    Raises:
        ImportRefusedError: `too-large`, `not-json` or `too-deep`.
    """
    if len(raw) > MAX_BYTES:
        raise ImportRefusedError("too-large", f"a source has at most {MAX_BYTES} bytes")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise ImportRefusedError("not-json", "the source is not JSON in UTF-8") from None
    if _depth(value) > MAX_DEPTH:
        raise ImportRefusedError("too-deep", f"the source has more than {MAX_DEPTH} levels")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot carry
        raise ImportRefusedError("not-json", "the source is not JSON in UTF-8") from None
    return value


def left_out(
    source: object, alert: Alert, *, also: Collection[str] = frozenset()
) -> tuple[Left, ...]:
    """Return every value of `source` that stands nowhere in `alert`, counted by path.

    Args:
        source: As it was read.
        alert: As it was made.
        also: Values that the alert says in another form: a converted time, a split compound.
    """
    kept = {_plain(value) for _, value in leaves(alert.model_dump(mode="json"), "")}
    kept |= {_plain(value) for value in also}
    counts: dict[str, int] = {}
    for path, value in leaves(source, ""):
        plain = _plain(value)
        if len(plain) >= _BOILERPLATE and plain not in kept:
            counts[path] = counts.get(path, 0) + 1
    return tuple(Left(path, count) for path, count in sorted(counts.items()))


def leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield each value that is neither a map nor a list, with its path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, f"{path}.*")
    elif value is not None and value != "":
        yield path, value


def _plain(value: object) -> str:
    return " ".join(str(value).split()).casefold()


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level and deepest <= MAX_DEPTH:
        deepest += 1
        level = [
            inner
            for each in level
            for inner in (
                each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            )
        ]
    return deepest
