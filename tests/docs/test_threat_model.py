"""Each threat names a control, what ships, and a test that exists; no row is left half said."""

import re

from tests.docs.pages import broken_links, missing_files, missing_tests, named_tests, page

TEXT = page("threat-model.md")
ROW = re.compile(r"^\| ([CIAP]\d+) \|(.*)\|$", re.MULTILINE)
COLUMNS = 5
LEVELS = {"H": 3, "M": 2, "L": 1}


def rows() -> dict[str, list[str]]:
    """Each threat's cells: threat, harm and likelihood, control, default, tests."""
    return {
        name: [cell.strip() for cell in cells.split(" | ")] for name, cells in ROW.findall(TEXT)
    }


def test_every_threat_names_a_control_its_default_and_a_test_that_exists() -> None:
    assert len(rows()) > 30
    for name, cells in rows().items():
        assert len(cells) == COLUMNS, name
        assert all(cells), name
        assert named_tests(cells[-1]), name
    assert missing_tests(TEXT) == []


def test_threats_are_numbered_without_a_hole_and_judged_by_the_three_words() -> None:
    for letter in "CIAP":
        numbers = [int(name[1:]) for name in rows() if name[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter
    for name, cells in rows().items():
        assert set(cells[1].split(", ")) <= set(LEVELS), name


def test_each_table_begins_with_the_worst() -> None:
    for letter in "CIAP":
        ranks = [rank(cells) for name, cells in rows().items() if name[0] == letter]
        assert ranks == sorted(ranks, reverse=True), letter


def rank(cells: list[str]) -> tuple[int, int]:
    harm, likely = (LEVELS[each] for each in cells[1].split(", "))
    return harm * likely, harm


def test_files_and_links_exist() -> None:
    assert missing_files(TEXT) == []
    assert broken_links("threat-model.md") == []
