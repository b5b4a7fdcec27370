"""Puts the numbers of a run into `docs/`: the table into the page, plots beside it.

python -m tests.bench.publish build/bench/full.json
"""

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.results import table

PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- numbers of a run -->", "<!-- end of the numbers -->"
WIDTH, NAMES, ROW = 720, 330, 26
_STYLE = "text{font:13px system-ui,sans-serif;fill:#222}.b{fill:#8a8a8a}.o{fill:#1f5a8c}"
Bar = tuple[str, float, str]


def main() -> None:
    """Write page and plots."""
    told = json.loads(Path(sys.argv[1]).read_text())
    parts: list[dict[str, Any]] = told["parts"]
    text = f"{BEGIN}\n\n```\n{told['head']}, {told['at'][:10]}\n{table(parts)}\n```\n\n{END}"
    page = PAGE.read_text()
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(before + text + after)
    for name, bars in (("throughput", throughput(parts)), ("latency", latencies(parts))):
        (PAGE.parent / f"performance-{name}.svg").write_text(drawing(name, bars))


def throughput(parts: Sequence[dict[str, Any]]) -> list[Bar]:
    """Alerts a second through a gateway."""
    return [
        (f"{row['what'].partition(':')[0]}, {part['sync_interval']}", row["value"], "alerts/s")
        for part in parts
        if part["part"] == "a"
        for row in part["rows"]
    ]


def latencies(parts: Sequence[dict[str, Any]]) -> list[Bar]:
    """Milliseconds from send to plaintext."""
    return [
        (f"{label}, {part['sync_interval']}", value, "ms")
        for part in parts
        if part["part"] == "b"
        for label, value in part["points"]
    ]


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
        told = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        drawn.append(f'<text x="{NAMES + wide + 6:.1f}" y="{y + 16}">{told} {unit}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(bars) * ROW}"'
        f' role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f"{''.join(drawn)}</svg>\n"
    )


if __name__ == "__main__":
    main()
