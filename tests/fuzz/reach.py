"""How far an input gets inside a parser: the functions and lines of ours, what pydantic said.

An input that is refused by the first check runs the same lines as noise does.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pydantic import ValidationError

from tests.fuzz.parser import OURS, Parser

_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = tuple(str(_ROOT / package) for package in ("broker", "schemas", "keys"))
Reach = frozenset[tuple[object, ...]]


def reach(parser: Parser, raw: bytes) -> Reach:
    """What of the parser an input reaches; whatever it raises besides our errors is let out."""
    lines: set[tuple[object, ...]] = set()

    def line(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401 - as settrace wants it
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: FrameType, *_: Any) -> Any:  # noqa: ANN401 - as settrace wants it
        return line if frame.f_code.co_filename.startswith(_OURS) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        parser.read(raw)
    except OURS as error:
        lines.update(_said(error))
    else:
        lines.add(("read",))
    finally:
        sys.settrace(before)
    return frozenset(lines)


def called(parser: Parser, raw: bytes) -> frozenset[str]:
    """The full names of the functions of ours that an input runs, as `covers` has them."""
    names: set[str] = set()

    def call(frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 - as setprofile wants it
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_OURS):
            names.add(f"{frame.f_globals['__name__']}.{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(call)
    try:
        with suppress(*OURS):
            parser.read(raw)
    finally:
        sys.setprofile(before)
    return frozenset(names)


def _said(error: BaseException | None) -> Iterator[tuple[object, ...]]:
    """Where pydantic found fault, for whatever reason an error of ours was raised from."""
    while error is not None:
        if isinstance(error, ValidationError):
            for each in error.errors(include_input=False, include_url=False):
                named = tuple(part for part in each["loc"] if isinstance(part, str))
                yield ("pydantic", each["type"], *named[:2])
        error = error.__cause__ or error.__context__
