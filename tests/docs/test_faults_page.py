"""The page on faults says how many parsers there are."""

import re

from tests.docs.pages import page
from tests.fuzz.registry import PARSERS


def test_the_page_counts_the_parsers() -> None:
    said = " ".join(page("faults.md").split())
    all_of_them = re.search(r"an entry for each parser of bytes that others wrote, (\d+) of", said)
    guided = re.search(r"into the (\d+) parsers of wire formats", said)
    assert all_of_them
    assert guided
    assert int(all_of_them[1]) == len(PARSERS)
    assert int(guided[1]) == sum(parser.wire for parser in PARSERS)
