"""What the page on speed says of goals is what the runs say that it shows."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from tests.bench import publish
from tests.bench.costs import costs
from tests.bench.publish import COSTS, COSTS_END, GOALS, GOALS_END
from tests.bench.published import BEGIN, END, shown
from tests.bench.results import number, table
from tests.bench.verdicts import GOALS as ALL_GOALS
from tests.bench.verdicts import verdicts
from tests.docs.pages import broken_links, missing_files, page

ADR = "adr/0015-speed-that-python-does-not-reach.md"
LISTED = re.compile(r"^\| (?!goal |---)([^|]+) \|")
BAR = re.compile(r"<text [^>]*>([^<]+)</text><rect [^>]*/><text [^>]*>([^<]+)</text>")


def between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


def parts() -> list[dict[str, Any]]:
    """The parts that the page shows, with their rows."""
    found = [part for run in shown(page("performance.md")) for part in run["parts"]]
    assert found
    return found


def test_the_table_is_what_is_read_from_it() -> None:
    """Else a part that is published later would change those that stay."""
    told = between(page("performance.md"), BEGIN, END)
    runs = shown(page("performance.md"))
    tables = [f"{run['head']}, {run['at']}\n{table(run['parts'])}" for run in runs]
    assert told.strip() == "\n\n".join(f"```\n{each}\n```" for each in tables)


def test_the_table_of_goals_is_that_of_the_runs_shown() -> None:
    assert between(page("performance.md"), GOALS, GOALS_END).strip() == verdicts(parts())


def test_what_one_alert_costs_is_that_of_the_runs_shown() -> None:
    made = costs(parts())
    assert "not told" not in made
    assert between(page("performance.md"), COSTS, COSTS_END).strip() == made


def bars(name: str) -> set[tuple[str, str]]:
    """Each bar of a plot: its name, and the number beside it."""
    drawn = BAR.findall(page(f"performance-{name}.svg"))
    assert drawn
    return {(unescape(what), told) for what, told in drawn}


@pytest.mark.parametrize("plot", [publish.throughput, publish.latencies])
def test_the_plots_are_those_of_the_runs_shown(plot: Callable[..., list[publish.Bar]]) -> None:
    told = {(what, f"{number(value)} {unit}") for what, value, unit in plot(parts())}
    assert bars({publish.throughput: "throughput", publish.latencies: "latency"}[plot]) == told


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
