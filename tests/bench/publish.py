"""Puts the numbers of a run into `docs/`: goals, costs and table into the page, plots beside it.

    python -m tests.bench.publish build/bench/full.json [MORE.json]

Of several files, a later one adds the parts that the earlier ones do not have. What none of them
has stays on the page as it is.
"""

import json
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.costs import costs
from tests.bench.published import BEGIN, END, shown
from tests.bench.results import number, table
from tests.bench.verdicts import verdicts

PAGE = Path("docs/performance.md")
GOALS, GOALS_END = "<!-- goals of a run -->", "<!-- end of the goals -->"
COSTS, COSTS_END = "<!-- costs of a run -->", "<!-- end of the costs -->"
WIDTH, NAMES, ROW = 720, 330, 26
_STYLE = "text{font:13px system-ui,sans-serif;fill:#222}.b{fill:#8a8a8a}.o{fill:#1f5a8c}"
_COUNT = re.compile(r"[\d,]+ ")
Bar = tuple[str, float, str]


def main() -> None:
    """Write page and plots."""
    page = PAGE.read_text()
    runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]] + shown(page)
    parts: list[dict[str, Any]] = []
    tables = []
    for told in runs:
        known = {_key(part) for part in parts}
        done = {each[:2] for each in known}  # then nobody asks why an earlier run failed
        new = [
            part
            for part in told["parts"]
            if _key(part) not in known and (part["rows"] or _key(part)[:2] not in done)
        ]
        parts += new
        if new:
            tables.append(f"{told['head']}, {told['at'][:10]}\n{table(new)}")
    page = between(page, GOALS, verdicts(parts), GOALS_END)
    page = between(page, BEGIN, "\n\n".join(f"```\n{each}\n```" for each in tables), END)
    page = between(page, COSTS, costs(parts), COSTS_END)
    PAGE.write_text(page)
    for name, bars in (("throughput", throughput(parts)), ("latency", latencies(parts))):
        (PAGE.parent / f"performance-{name}.svg").write_text(drawing(name, bars))


def _key(part: dict[str, Any]) -> tuple[str, str, str]:
    """What of a part is one measurement: memory is measured of a gateway, and of nodes."""
    return part["part"], part["sync_interval"], _COUNT.sub("", part["title"])


def between(page: str, begin: str, text: str, end: str) -> str:
    """The page with what stands between two marks replaced."""
    before, after = page.partition(begin)[0], page.partition(end)[2]
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def throughput(parts: Sequence[dict[str, Any]]) -> list[Bar]:
    """Alerts a second through a gateway, by the clock; what counts a processor is another thing."""
    return [
        (f"{row['what'].partition(':')[0]}, {part['sync_interval']}", row["value"], "alerts/s")
        for part in parts
        if part["part"] == "a"
        for row in part["rows"]
        if row["what"].startswith(("bare loop:", "our gateway"))
    ]


def latencies(parts: Sequence[dict[str, Any]]) -> list[Bar]:
    """Milliseconds from send to plaintext."""
    return [
        (f"{_named(row['what'])}, {part['sync_interval']}", row["value"], row["unit"])
        for part in parts
        if part["part"] == "b"
        for row in part["rows"]
        if row["unit"] == "ms"
    ]


def _named(what: str) -> str:
    return what.replace("bare publish -> pull", "bare").replace("send -> plaintext", "ours")


def drawing(title: str, bars: Sequence[Bar]) -> str:
    """Bars from left to right; grey is the bare loop, blue is ours."""
    most = max((value for _, value, _ in bars), default=0) or 1
    room, drawn = WIDTH - NAMES - 110, []
    for at, (name, value, unit) in enumerate(bars):
        y, wide = at * ROW, room * value / most
        kind = "b" if name.startswith("bare") else "o"
        drawn.append(f'<text x="0" y="{y + 16}">{escape(name)}</text>')
        drawn.append(
            f'<rect class="{kind}" x="{NAMES}" y="{y + 3}" width="{wide:.1f}" height="{ROW - 8}"/>'
        )
        drawn.append(f'<text x="{NAMES + wide + 6:.1f}" y="{y + 16}">{number(value)} {unit}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(bars) * ROW}"'
        f' role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f"{''.join(drawn)}</svg>\n"
    )


if __name__ == "__main__":
    main()
