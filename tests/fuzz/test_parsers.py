"""Whatever the bytes: a value, or one of our errors; and what is read is written the same way."""

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import altered, places, put, rebuilt
from tests.fuzz.parser import Parser
from tests.fuzz.registry import PARSERS

each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


def bounded(parser: Parser) -> settings:
    """The profile's settings, with fewer examples where one costs much."""
    usual = settings()
    most = min(usual.max_examples, parser.examples or usual.max_examples)
    return settings(max_examples=most, suppress_health_check=list(HealthCheck))


@each_parser
def test_the_first_input_of_each_corpus_is_read(parser: Parser) -> None:
    good, *others = parser.samples()
    assert parser.judge(good) or parser.like
    for raw in others:
        parser.judge(raw)


@each_parser
def test_arbitrary_bytes_give_a_value_or_our_error(parser: Parser) -> None:
    @bounded(parser)
    @given(st.binary(max_size=300) | st.text(max_size=60).map(str.encode))
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


@each_parser
def test_altered_inputs_give_a_value_or_our_error(parser: Parser) -> None:
    samples = parser.samples()

    @bounded(parser)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(samples))
        way = (
            altered(sample)
            if parser.form == "bytes"
            else (altered(sample) | rebuilt(sample, parser.form))
        )
        parser.judge(data.draw(way))

    check()
