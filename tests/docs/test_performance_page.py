"""What the page on speed says of goals stands in the runs that it shows."""

import re

import pytest

from tests.docs.pages import broken_links, missing_files, page

ADR = "adr/0015-speed-that-python-does-not-reach.md"
BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^  (.+?) {2,}.*?([\d.]+)x of .*?(reached|NOT REACHED)$", re.MULTILINE)
RATIO = re.compile(r"\b\d\.\d\d\b")
VERDICTS = {  # how a row of the table begins, and how the rows of the runs begin that it sums up
    "gateway, one worker": ("our worker, per second",),
    "two workers": ("our gateway, two workers",),
    "send to plaintext": ("send -> plaintext",),
    "one core of a sender": ("sending node", "receiving node"),
    "drain at 0.7": ("drained", "per second of the node's"),
    "log, 20,000": ("checked leaves",),
    "log, end to end": ("messages into signed",),
    "`audit verify`": ("audit verify",),
}


def shown(text: str) -> list[tuple[str, str, bool]]:
    """Of each row with a goal: what it measures, its ratio, and whether the goal is reached."""
    rows = [row for block in BLOCK.findall(text) for row in SHOWN.findall(block)]
    return [(what.strip(), ratio, word == "reached") for what, ratio, word in rows]


def verdicts(text: str) -> list[tuple[str, str]]:
    """The table of goals."""
    table = text.partition("| goal | reached? |\n|---|---|\n")[2].partition("\n\n")[0]
    return [(row.split(" | ")[0].lstrip("| "), row) for row in table.splitlines()]


@pytest.mark.parametrize(("goal", "rows"), VERDICTS.items(), ids=VERDICTS)
def test_a_verdict_is_that_of_the_runs_shown(goal: str, rows: tuple[str, ...]) -> None:
    text = page("performance.md")
    (said,) = [row for begins, row in verdicts(text) if begins.startswith(goal)]
    found = {reached for what, _, reached in shown(text) if what.startswith(rows)}
    assert len(found) == 1, f"{goal}: the runs do not agree"
    assert ("**yes**" in said, "**no**" in said) == (found == {True}, found == {False})


def test_every_ratio_in_the_table_of_goals_is_one_of_a_run_or_said_to_be_measured_apart() -> None:
    text = page("performance.md")
    ratios = {ratio for _, ratio, _ in shown(text)}
    for begins, row in verdicts(text):
        if not begins.startswith(("gateway with the log on", "log, end to end")):
            assert set(RATIO.findall(row)) <= ratios, row


def test_the_ratios_of_the_record_on_python_stand_on_the_page() -> None:
    table = page(ADR).partition("|---|---|---|\n")[2].partition("\n\n")[0]
    reached = [ratio for row in table.splitlines() for ratio in RATIO.findall(row.split(" | ")[1])]
    known = {ratio for _, ratio, _ in shown(page("performance.md"))} | {"0.84"}
    assert reached
    assert set(reached) <= known


def test_links_and_files_of_the_page_are_there() -> None:
    assert broken_links("performance.md") == []
    assert missing_files(page("performance.md")) == []
