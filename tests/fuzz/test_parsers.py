"""Whatever the bytes: a value, or one of our errors; and what is read is written the same way."""

from collections.abc import Callable

import msgpack
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import altered, places, put, rebuilt
from tests.fuzz.parser import Parser
from tests.fuzz.reach import reach
from tests.fuzz.registry import PARSERS

each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


NOISE = st.binary(max_size=300) | st.text(max_size=60).map(str.encode)


def same(most: int) -> settings:
    """So many examples, which never change."""
    return settings(
        max_examples=most,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def bounded(parser: Parser) -> settings:
    """The profile's settings, with fewer examples where one costs much."""
    usual = settings()
    most = min(usual.max_examples, parser.examples or usual.max_examples)
    return settings(max_examples=most, suppress_health_check=list(HealthCheck))


@each_parser
def test_the_first_input_of_each_corpus_is_read(parser: Parser) -> None:
    good, *others = parser.samples()
    assert parser.judge(good)
    for raw in others:
        parser.judge(raw)


@each_parser
def test_arbitrary_bytes_give_a_value_or_our_error(parser: Parser) -> None:
    @bounded(parser)
    @given(NOISE)
    @example(b"")
    def check(raw: bytes) -> None:
        parser.judge(raw)

    check()


@pytest.mark.parametrize(
    "parser", [each for each in PARSERS if each.form == "canonical"], ids=lambda each: each.name
)
def test_no_part_can_be_of_another_kind(parser: Parser) -> None:
    for sample in parser.samples()[:2]:
        try:
            value = msgpack.unpackb(sample)
        except ValueError:
            continue
        for path in places(value):
            for odd in (None, True, 1, "", b"", [], {}):
                parser.judge(msgpack.packb(put(value, path, odd)))


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """Good inputs, altered byte by byte and, where they have parts, part by part."""
    return st.sampled_from(parser.samples()).flatmap(
        lambda sample: (
            altered(sample)
            if parser.form == "bytes"
            else altered(sample) | rebuilt(sample, parser.form)
        )
    )


@each_parser
def test_altered_inputs_get_past_the_checks_at_which_noise_ends(parser: Parser) -> None:
    """Of the lines that a good input runs and noise does not, half are run by altered ones.

    They are the same each time: no luck is needed, and what is not reached is told at once.
    """
    good = parser.samples()[0]
    reach(parser, good)  # once before, so that what is made only once does not count
    noise: set[tuple[object, ...]] = set()
    found: set[tuple[object, ...]] = set()

    @same(20)
    @given(NOISE)
    def see_noise(raw: bytes) -> None:
        noise.update(reach(parser, raw))

    see_noise()
    beyond = reach(parser, good) - noise

    @same(200)
    @given(inputs(parser))
    def see_altered(raw: bytes) -> None:
        if 2 * len(beyond & found) < len(beyond) and raw not in parser.samples():
            found.update(reach(parser, raw))

    see_altered()
    assert 2 * len(beyond & found) >= len(beyond), sorted(map(str, beyond - found))


@each_parser
def test_altered_inputs_give_a_value_or_our_error(parser: Parser) -> None:
    @bounded(parser)
    @given(inputs(parser))
    def check(raw: bytes) -> None:
        parser.judge(raw)

    check()


def by_choices(parser: Parser) -> Callable[[bytes], object]:
    """The same check, of the input that some bytes choose among the altered ones."""

    @bounded(parser)
    @given(inputs(parser))
    def check(raw: bytes) -> None:
        parser.judge(raw)

    chosen: Callable[[bytes], object] = check.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return chosen
