"""What the page on speed says of goals is what the runs say that it shows."""

import re
from html import unescape
from typing import Any

from tests.bench import publish
from tests.bench.costs import costs
from tests.bench.publish import BEGIN, COSTS, COSTS_END, END, GOALS, GOALS_END
from tests.bench.results import number
from tests.bench.verdicts import GOALS as ALL_GOALS
from tests.bench.verdicts import verdicts
from tests.docs.pages import broken_links, missing_files, page

ADR = "adr/0015-speed-that-python-does-not-reach.md"
TITLE = re.compile(r"^\(([a-h])\) .*?(?:, sync_interval (\w+))?$")
ROW = re.compile(r"^  (?!note: )(\S.*?) {2,}([\d.,]+) (\S+)(.*)$")
GOAL = re.compile(r" {2,}([\d.,]+)x .*: (reached|NOT REACHED)$")
LISTED = re.compile(r"^\| (?!goal |---)([^|]+) \|")
BAR = re.compile(r"<text [^>]*>([^<]+)</text><rect [^>]*/><text [^>]*>([^<]+)</text>")


def between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


def shown(text: str) -> list[dict[str, Any]]:
    """The parts that the page shows, with their rows."""
    parts: list[dict[str, Any]] = []
    for line in text.splitlines():
        if title := TITLE.match(line):
            parts.append({"part": title[1], "sync_interval": title[2] or "", "rows": []})
        elif row := ROW.match(line):
            told = {"what": row[1], "value": float(row[2].replace(",", "")), "unit": row[3]}
            if goal := GOAL.search(row[4]):
                told |= {"ratio": float(goal[1].replace(",", "")), "goal": 0}
                told |= {"reached": goal[2] == "reached"}
            parts[-1]["rows"].append(told)
    return parts


def test_the_table_of_goals_is_that_of_the_runs_shown() -> None:
    text = page("performance.md")
    parts = shown(between(text, BEGIN, END))
    assert parts
    assert between(text, GOALS, GOALS_END).strip() == verdicts(parts)


def test_what_one_alert_costs_is_that_of_the_runs_shown() -> None:
    text = page("performance.md")
    made = costs(shown(between(text, BEGIN, END)))
    assert "not told" not in made
    assert between(text, COSTS, COSTS_END).strip() == made


def bars(name: str) -> set[tuple[str, str]]:
    """Each bar of a plot: its name, and the number beside it."""
    drawn = BAR.findall(page(f"performance-{name}.svg"))
    assert drawn
    return {(unescape(what), told) for what, told in drawn}


def test_the_plot_of_throughput_is_that_of_the_runs_shown() -> None:
    parts = shown(between(page("performance.md"), BEGIN, END))
    told = {(what, f"{number(value)} {unit}") for what, value, unit in publish.throughput(parts)}
    assert bars("throughput") == told


def test_the_plot_of_latency_is_that_of_the_runs_shown() -> None:
    told = set()
    for part in shown(between(page("performance.md"), BEGIN, END)):
        for row in part["rows"] if part["part"] == "b" else ():
            what = row["what"].replace("bare publish -> pull", "bare")
            what = what.replace("send -> plaintext", "ours")
            if row["unit"] == "ms":
                told.add((f"{what}, {part['sync_interval']}", f"{number(row['value'])} ms"))
    assert bars("latency") == told


def test_what_the_record_on_python_calls_missed_is_missed_and_nothing_else() -> None:
    told = between(page("performance.md"), GOALS, GOALS_END).splitlines()
    missed = [line for line in told if "**no**" in line or "**in part**" in line]
    assert len(missed) < len(ALL_GOALS)
    listed = {row[1] for row in map(LISTED.match, page(ADR).splitlines()) if row}
    wanted = {line.split(" | ")[0].removeprefix("| ").partition(":")[0] for line in missed}
    for goal in wanted:
        short = goal.partition(", p")[0]
        assert any(short in each for each in listed), short
    assert len(listed) <= len(wanted)
    reached = [line for line in told if "**yes**" in line]
    for line in reached:
        goal = line.split(" | ")[0].removeprefix("| ").partition(":")[0]
        assert not any(each.startswith(f"{goal}:") for each in listed), goal


def test_links_and_files_of_the_page_are_there() -> None:
    assert broken_links("performance.md") == []
    assert missing_files(page("performance.md")) == []
