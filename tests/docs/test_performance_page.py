"""What the page on speed says of goals is what the runs say that it shows."""

import re
from typing import Any

from tests.bench.publish import BEGIN, END, GOALS, GOALS_END
from tests.bench.verdicts import GOALS as ALL_GOALS
from tests.bench.verdicts import verdicts
from tests.docs.pages import broken_links, missing_files, page

ADR = "adr/0015-speed-that-python-does-not-reach.md"
TITLE = re.compile(r"^\(([a-h])\) .*?(?:, sync_interval (\w+))?$")
ROW = re.compile(r"^  (\S.*?) {2,}.*?([\d.,]+)x .*: (reached|NOT REACHED)$")


def between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


def shown(text: str) -> list[dict[str, Any]]:
    """The parts that the page shows, with those rows that have a goal."""
    parts: list[dict[str, Any]] = []
    for line in text.splitlines():
        if title := TITLE.match(line):
            parts.append({"part": title[1], "sync_interval": title[2] or "", "rows": []})
        elif row := ROW.match(line):
            told = {"what": row[1], "ratio": float(row[2].replace(",", "")), "goal": 0}
            parts[-1]["rows"].append({**told, "reached": row[3] == "reached"})
    return parts


def test_the_table_of_goals_is_that_of_the_runs_shown() -> None:
    text = page("performance.md")
    parts = shown(between(text, BEGIN, END))
    assert parts
    assert between(text, GOALS, GOALS_END).strip() == verdicts(parts)


def test_what_the_record_on_python_calls_missed_is_missed() -> None:
    text = page(ADR)
    told = between(page("performance.md"), GOALS, GOALS_END).splitlines()
    missed = [line for line in told if "**no**" in line or "**in part**" in line]
    assert len(missed) < len(ALL_GOALS)
    for line in missed:
        goal = line.split(" | ")[0].removeprefix("| ").partition(":")[0].partition(", p")[0]
        assert goal in text, goal


def test_links_and_files_of_the_page_are_there() -> None:
    assert broken_links("performance.md") == []
    assert missing_files(page("performance.md")) == []
