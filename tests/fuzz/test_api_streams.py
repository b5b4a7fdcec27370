"""Event streams asked for in every way: each is read as far as it goes now, and no further.

A stream has no end, so a reader leaves it at the first heartbeat after what it waits for: the
server beats twenty times a second here. What is read is held against a model of the inbox.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from broker.client.events import _parse
from schemas.desk import InboxItem, Submission
from tests.fuzz.served import MAIL, Place
from tests.support.hub import BOUND_S

pytestmark = [pytest.mark.hub, pytest.mark.slow]
DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
INBOX, SUBMISSION = "/v1/events", "/v1/submissions/{reference}/events"
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
GREETING = b"retry: 1000\n: connected"
BEAT = b": still here"
MAX_FRAMES = 400  # twenty seconds of heartbeats: what should come has not come
MAX_FRAME_BYTES = 2**20
LARGEST = 2**63 - 1
bounded = settings(
    max_examples=min(settings().max_examples, 300) // 2,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)


@dataclass
class Frames:
    """The frames of one open stream, each whole and of a known form."""

    answer: requests.Response
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._chunks: Iterator[bytes] = self.answer.iter_content(None)
        assert self.answer.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in self.answer.headers
        assert self.next() == GREETING

    def next(self) -> bytes:
        """The next frame, or `b""` at the end of the stream."""
        while (end := self._buffer.find(b"\n\n")) < 0:
            assert len(self._buffer) <= MAX_FRAME_BYTES
            chunk = next(self._chunks, b"")
            if not chunk:
                assert not self._buffer, "a frame was cut off"
                return b""
            self._buffer += chunk
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return frame

    def events(self, count: int) -> list[tuple[str, str, Any]]:
        """Name, id and JSON of the next `count` events; then those before one more heartbeat."""
        found: list[tuple[str, str, Any]] = []
        for _ in range(MAX_FRAMES):
            frame = self.next()
            if frame == BEAT and len(found) >= count:
                return found
            event = None if frame == BEAT else _parse(frame)
            if not frame or (event is not None and event.name == "end"):
                return [*found, ("end", "", {})]
            if event is not None:
                assert {line.split(b":")[0] for line in frame.split(b"\n")} == {
                    b"id",
                    b"event",
                    b"data",
                }
                found.append((event.name, event.id, json.loads(event.data)))
        raise AssertionError(f"{len(found)} events came, {count} were awaited")


@contextmanager
def opened(
    place: Place,
    path: str,
    *,
    query: Sequence[tuple[str, str]] = (),
    last: str | bytes | None = None,
) -> Iterator[requests.Response]:
    headers: dict[str, str | bytes] = dict(place.headers)
    if last is not None:
        headers["last-event-id"] = last
    answer = requests.get(
        place.url + path,
        params=list(query),
        headers=headers,
        stream=True,
        verify=place.ca,
        timeout=BOUND_S,
    )
    with answer:
        yield answer


def after(place: Place, start: int, types: Sequence[str] = ()) -> list[str]:
    """The ids of the events that a reader gets who has dealt with everything up to `start`."""
    return [
        str(position)
        for position, type_ in place.mail
        if position > start and (not types or type_ in types)
    ]


def ids_from(answer: requests.Response, awaited: list[str]) -> list[str]:
    """The ids of the alerts that a stream gives, each of them read as an item of the inbox."""
    assert answer.status_code == 200, answer.text
    found = Frames(answer).events(len(awaited))
    for name, ident, value in found:
        assert name == "alert"
        assert str(InboxItem.model_validate_json(json.dumps(value)).position) == ident
    return [ident for _, ident, _ in found]


def acked(place: Place, name: str, position: int) -> requests.Response:
    return requests.post(
        f"{place.url}/v1/cursors/{name}/ack",
        json={"position": position},
        headers=place.headers,
        verify=place.ca,
        timeout=BOUND_S,
    )


def refused(answer: requests.Response, *codes: str) -> None:
    assert answer.status_code in {400, 403, 404, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in codes


@pytest.mark.parametrize("path", [INBOX, SUBMISSION])
def test_every_stream_is_as_described_and_none_is_a_fault(place: Place, path: str) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path]["GET"]
    cases = st.one_of(operation.as_strategy(mode) for mode in GenerationMode)
    reached: set[int] = set()

    @bounded
    @given(
        cases,
        st.sampled_from(["", *place.known["reference"], *place.known["item_id"]]),
        st.sampled_from([(), ("cyber",), ("cyber", "drugs"), ("none",)]),
    )
    def check(case: Case, known: str, types: tuple[str, ...]) -> None:
        if known and "reference" in (case.path_parameters or {}):
            case.path_parameters["reference"] = known
        if types and path == INBOX:
            case.query = {**(case.query or {}), "type": list(types)}
        answer = requests.request(
            **case.as_transport_kwargs(base_url=place.url, headers=place.headers),
            stream=True,
            verify=place.ca,
            timeout=BOUND_S,
        )
        with answer:
            reached.add(answer.status_code)
            if answer.status_code != 200:
                assert answer.status_code < 500, answer.text
                case.validate_response(answer, checks=CHECKS)
                return
            events = Frames(answer).events(int(path == SUBMISSION))
        for name, _, value in events:
            match name:
                case "alert":
                    InboxItem.model_validate_json(json.dumps(value))
                case "submission":
                    Submission.model_validate_json(json.dumps(value))
                case _:
                    assert name == "end"

    check()
    assert 200 in reached
    assert reached & {400, 404, 422}


def test_a_stream_begins_after_the_place_that_was_named_wherever_it_was_named(
    place: Place,
) -> None:
    """`since` before the browser's `Last-Event-ID`, and that before the cursor."""
    acked(place, "precedence", place.mail[1][0])
    positions = st.integers(0, MAIL + 2) | st.sampled_from([LARGEST, 2**31, 2**32])

    @bounded
    @given(
        since=st.none() | positions,
        last=st.none() | positions,
        cursor=st.sampled_from([None, "precedence", "never-acknowledged"]),
        types=st.sampled_from([(), ("cyber",), ("drugs",), ("cyber", "drugs"), ("none",)]),
    )
    @example(since=0, last=LARGEST, cursor=None, types=())
    @example(since=None, last=0, cursor="precedence", types=())
    def check(
        since: int | None, last: int | None, cursor: str | None, types: tuple[str, ...]
    ) -> None:
        query = [("type", name) for name in types]
        query += [] if since is None else [("since", str(since))]
        query += [] if cursor is None else [("cursor", cursor)]
        of_cursor = {None: None, "precedence": place.mail[1][0], "never-acknowledged": 0}[cursor]
        start = next((each for each in (since, last, of_cursor) if each is not None), None)
        shown = None if last is None else str(last)
        with opened(place, INBOX, query=query, last=shown) as answer:
            if start is None:
                refused(answer, "no-place")
            else:
                awaited = after(place, start, types)
                assert ids_from(answer, awaited) == awaited

    check()


def test_a_reader_that_breaks_off_anywhere_goes_on_there_and_misses_nothing(place: Place) -> None:
    """By the last id that it saw, or by its cursor; a place acknowledged before moves nothing."""
    names = iter(range(10**6))

    @bounded
    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, MAIL)), max_size=6))
    def check(steps: list[tuple[int, bool, int]]) -> None:
        name = f"reader-{next(names)}"
        seen: list[str] = []
        done = 0
        for count, by_cursor, early in steps:
            awaited = after(place, done if by_cursor else int(seen[-1]) if seen else 0)
            query = [("cursor", name)]
            last = None if by_cursor or not seen else seen[-1]
            with opened(place, INBOX, query=query, last=last) as answer:
                found = ids_from(answer, awaited)
            assert found == (awaited if last is not None or by_cursor else after(place, done))
            kept = found[:count]
            if not kept:
                continue
            seen += [ident for ident in kept if ident not in seen]
            assert acked(place, name, int(kept[-1])).json()["position"] == max(done, int(kept[-1]))
            done = max(done, int(kept[-1]))
            assert acked(place, name, min(done, early)).json()["position"] == done
        assert seen == after(place, 0)[: len(seen)]  # in order, none left out

    check()


bad_numbers = st.sampled_from(
    ["-1", str(2**63), "9" * 19, "9" * 5000, "1.5", "1e3", "x", "0x1", " 1", "1 ", "+1", "\u0661"]
) | st.just("")
bad_names = st.sampled_from(
    ["", "A", "..", "-a", "a" * 33, "a/b", "a b", "\0", "a\n", "é", "a%00", "*", "desk.", "_"]
) | st.text(max_size=8)


def test_a_place_that_is_none_is_refused_and_never_taken_for_the_beginning(place: Place) -> None:
    @bounded
    @given(st.sampled_from(["since", "cursor"]), bad_numbers, bad_names)
    def check(which: str, number: str, name: str) -> None:
        value = number if which == "since" else name
        with opened(place, INBOX, query=[(which, value)]) as answer:
            if answer.status_code == 200:  # a number or a name after all: "+1" is read as 1
                awaited = after(place, int(value) if which == "since" else 0)
                assert ids_from(answer, awaited) == awaited
            else:
                refused(answer, "invalid-parameter", "no-place")

    check()


def is_place(shown: bytes) -> bool:
    return shown.isdigit() and len(shown) <= len(str(LARGEST)) and int(shown) <= LARGEST


@given(bad_numbers | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30))
@bounded
def test_an_id_that_no_stream_gave_is_not_believed(place: Place, last: str) -> None:
    """A browser shows what it was told last; any other word leaves the cursor to decide."""
    shown = last.encode("latin-1", "replace").strip()
    with opened(place, INBOX, last=shown) as answer:
        if answer.status_code == 200:
            assert is_place(shown)
            ids_from(answer, after(place, int(shown)))
        else:
            refused(answer, "no-place")
    with opened(place, INBOX, query=[("cursor", "unmoved")], last=shown) as answer:
        start = int(shown) if is_place(shown) else 0
        assert ids_from(answer, after(place, start)) == after(place, start)


@pytest.mark.parametrize("position", [-1, MAIL + 1, LARGEST, 2**63, 10**30, "1", 1.5, None, True])
def test_a_cursor_never_moves_beyond_the_inbox(place: Place, position: object) -> None:
    answer = acked(place, "bad", position)  # type: ignore[arg-type] # as a program may
    refused(answer, "beyond-the-inbox", "beyond-inbox", "invalid-request")
    with opened(place, INBOX, query=[("cursor", "bad")]) as answer:
        assert ids_from(answer, after(place, 0)) == after(place, 0)
