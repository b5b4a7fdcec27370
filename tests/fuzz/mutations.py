"""Good inputs made bad: bits flipped, ends cut off, parts repeated, moved and put elsewhere.

And good inputs made other: a value beside the one that was there, of its kind and length, passes
every check of form and is seen by those behind.
"""

import json
import string
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final, TypeAlias

import msgpack
from hypothesis import strategies as st

from tests.fuzz.parser import Form

Value: TypeAlias = Any  # of JSON or MessagePack
Path = tuple[Any, ...]
_ODD_LINES: Final = (
    "", "[", "[[", "]", "=", "a", "[a]", "[[a]]", "a = 1", 'a = "', "a.b.c = {}", "\u2028", "\0",
)  # fmt: skip
_ODD_TOKENS: Final = (
    "", "0", "-1", "9" * 5000, "1e999", "inf", "nan", "true", "[]", "{}", '""', '"\\ud800"',
    "{a=1}",
    "1979-05-27", "1979-05-27T07:32:00Z", "9999-12-31T23:59:59+23:59", "07:32:00", "[" * 200,
    "0x" + "f" * 40, "*a", "&a [*a]", "!!int x", "!!timestamp x", "2001-99-99", ".inf", "? [a]",
)  # fmt: skip
_CLASSES: Final = (string.digits, string.ascii_lowercase, string.ascii_uppercase, "+/-_", ".,:;")
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63)])
    | st.text(max_size=6)
)
odd_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
odd_packed = odd_values | st.binary(max_size=40) | st.sampled_from([16, 32, 64]).map(bytes)


@st.composite
def altered(draw: st.DrawFn, raw: bytes) -> bytes:
    """A few changes of bytes, wherever they fall."""
    found = bytearray(raw)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(found)))
        end = draw(st.integers(start, min(len(found), start + 80)))
        part = found[start:end]
        match draw(st.integers(0, 7)):
            case 0 if start < len(found):
                found[start] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del found[start:]
            case 2:
                del found[start:end]
            case 3:
                found[start:start] = part * draw(st.integers(1, 4))
            case 4:
                del found[start:end]
                place = draw(st.integers(0, len(found)))
                found[place:place] = part
            case 5:
                found[start:end] = draw(st.binary(max_size=8))
            case 6 if start < len(found):
                found[start] = ord(draw(_like(chr(found[start]))))
            case _:
                found[start:end] = b"\xff" * len(part)
    return bytes(found)


@st.composite
def rebuilt(draw: st.DrawFn, raw: bytes, form: Form) -> bytes:
    """A few changes of the value that the bytes hold, well formed again outside."""
    if form in ("toml", "lines"):
        return draw(_relined(raw))
    try:
        value = json.loads(raw) if form == "json" else msgpack.unpackb(raw, strict_map_key=False)
    except ValueError:
        return draw(altered(raw))
    odd = odd_values if form == "json" else odd_packed
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        value = draw(_changed(value, odd))
    if form == "json":
        return json.dumps(value).encode()
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


@st.composite
def _changed(draw: st.DrawFn, value: Value, odd: st.SearchStrategy[Value]) -> Value:
    value = deepcopy(value)
    paths = list(places(value))
    path = draw(st.sampled_from(paths))
    if not path:
        return draw(odd)
    holder, step = _at(value, path[:-1]), path[-1]
    match draw(st.integers(0, 7)):
        case 0:
            del holder[step]
        case 1:
            holder[step] = deepcopy(_at(value, draw(st.sampled_from(paths))))
        case 2 if isinstance(holder, list):
            holder.insert(step, deepcopy(holder[step]))
        case 2:
            holder[draw(st.text(max_size=4))] = holder[step]
        case 3 if isinstance(holder, list):
            holder.reverse()
        case 4 | 5 | 6:
            holder[step] = draw(_beside(holder[step], odd))
        case _:
            holder[step] = draw(odd)
    return value


def _beside(value: Value, odd: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    """Another value of the same kind, near to the one that is there."""
    match value:
        case bool():
            return st.just(not value)
        case int():
            near = [value + 1, value - 1, value * 2, value // 2, value * 1000, value // 1000]
            return st.sampled_from([each for each in near if -(2**63) <= each < 2**64] or [0])
        case str() if value:
            return _spelt(value)
        case bytes() if value:
            places = st.integers(0, len(value) * 8 - 1)
            return places.map(lambda at: _flipped(value, at))
        case _:
            return odd


@st.composite
def _spelt(draw: st.DrawFn, word: str) -> str:
    """The word with one of its characters replaced by another of its class."""
    at = draw(st.integers(0, len(word) - 1))
    return f"{word[:at]}{draw(_like(word[at]))}{word[at + 1 :]}"


def _like(character: str) -> st.SearchStrategy[str]:
    return st.sampled_from(next((each for each in _CLASSES if character in each), "\0 \n~"))


def _flipped(raw: bytes, at: int) -> bytes:
    found = bytearray(raw)
    found[at // 8] ^= 1 << at % 8
    return bytes(found)


def places(value: Value, path: Path = ()) -> Iterator[Path]:
    """Yield where every value stands, the whole of it first."""
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from places(inner, (*path, at))


def put(value: Value, path: Path, other: Value) -> Value:
    """The value with another one at a place of it."""
    if not path:
        return other
    changed = deepcopy(value)
    _at(changed, path[:-1])[path[-1]] = other
    return changed


def _at(value: Value, path: Path) -> Value:
    for step in path:
        value = value[step]
    return value


@st.composite
def _relined(draw: st.DrawFn, raw: bytes) -> bytes:
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 5)):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines.insert(at, draw(st.sampled_from(_ODD_LINES) | st.text(max_size=8)))
            case 3 if lines[at]:
                lines[at] = draw(_spelt(lines[at]))
            case _:
                mark = next((m for m in ("=", ":", " ", ",") if m in lines[at]), " ")
                head, _, _ = lines[at].partition(mark)
                token = draw(st.sampled_from(_ODD_TOKENS) | st.text(max_size=8))
                lines[at] = f"{head}{mark} {token}"
    return "\n".join(lines).encode("utf-8", "surrogateescape")
