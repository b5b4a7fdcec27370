"""A report as one page: no script, nothing fetched, plots drawn here, every text escaped."""

from collections import Counter
from html import escape
from typing import Final

from broker.audit.report import LEAVES, TABLES, Report, Row
from broker.audit.verify import Audited
from broker.audit.witnessing import moment
from broker.cli import screen
from broker.cli.admin.audit_report import TITLES, cells, heads, summary
from broker.cli.text import language, say

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .5rem}
tr{border-bottom:1px solid #ddd}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.real{fill:#1f5a8c}.exercise{fill:#d9a441}svg{width:100%;height:auto}text{font-size:12px;fill:#222}
svg.key{width:12px}code{word-break:break-all}
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_WIDTH: Final = 720
_HEIGHT: Final = 180
_ROOM: Final = 30  # below the bars, for months
_LABELS: Final = 12  # months named along the axis
_ROW: Final = 22
_NAMES: Final = 200  # left of the bars, for names
_SHOWN: Final = 30  # bars in one plot; the table has all


def page(report: Report, audited: Audited) -> str:
    """Return the page."""
    title = say("report-title", "Report on the log of decisions")
    facts = "".join(f"<p>{_text(line)}</p>" for line in summary(report, audited))
    parts = [
        f"<h2>{_text(say(*TITLES[name]))}</h2>{_plot(name, rows)}{_table(rows)}"
        for name in TABLES
        if (rows := report.table(name))
    ]
    return (
        f'<!doctype html>\n<html lang="{_text(language())}">\n<head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_text(_POLICY)}">\n'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_text(title)}</h1>\n{facts}{_root(audited)}{_legend()}\n{''.join(parts)}\n</body></html>\n"
    )


def _root(audited: Audited) -> str:
    checkpoint, tally = audited.checkpoint, audited.tally
    root = "" if checkpoint is None else checkpoint.root.hex()
    first, last = moment(tally.first_s) or "-", moment(tally.last_s) or "-"
    return f"<p>{_text(first)} &ndash; {_text(last)}<br><code>{_text(root)}</code></p>"


def _table(rows: list[Row]) -> str:
    item, detail, *numbers = heads()
    head = f"<th>{_text(item)}</th><th>{_text(detail)}</th>"
    head += "".join(f'<th class="n">{_text(each)}</th>' for each in numbers)
    lines = []
    for row in rows:
        name, named, *counts = cells(row)
        line = f"<td>{_text(name)}</td><td>{_text(named)}</td>"
        line += "".join(f'<td class="n">{_text(each)}</td>' for each in counts)
        lines.append(f"<tr>{line}</tr>\n")
    return f"<table><tr>{head}</tr>\n{''.join(lines)}</table>"


def _plot(name: str, rows: list[Row]) -> str:
    if name != LEAVES:
        return _across([(" ".join(cells(row)[:2]), row.real, row.exercise) for row in rows])
    real: Counter[str] = Counter()
    exercise: Counter[str] = Counter()
    for row in rows:
        real[row.item] += row.real
        exercise[row.item] += row.exercise
    return _upright([(month, real[month], exercise[month]) for month in sorted(real)])


def _upright(bars: list[tuple[str, int, int]]) -> str:
    """Return bars along time, exercises standing upon what happened."""
    most = max((real + exercise for _, real, exercise in bars), default=0) or 1
    step = _WIDTH / max(len(bars), 1)
    named = -(-len(bars) // _LABELS)
    drawn = []
    for at, (name, real, exercise) in enumerate(bars):
        x, high = at * step, _HEIGHT * real / most
        above = _HEIGHT * exercise / most
        drawn.append(_bar("real", x, _HEIGHT - high, step * 0.8, high, f"{name}: {real}"))
        top = _HEIGHT - high - above
        drawn.append(_bar("exercise", x, top, step * 0.8, above, f"{name}: {exercise}"))
        if at % named == 0:
            drawn.append(f'<text x="{x:.1f}" y="{_HEIGHT + 18}">{_text(name)}</text>')
    return _drawing(_HEIGHT + _ROOM, drawn)


def _across(bars: list[tuple[str, int, int]]) -> str:
    """Return bars from left to right, the largest first."""
    shown = bars[:_SHOWN]
    most = max((real + exercise for _, real, exercise in shown), default=0) or 1
    room, drawn = _WIDTH - _NAMES, []
    for at, (name, real, exercise) in enumerate(shown):
        y, wide = at * _ROW, room * real / most
        drawn.append(f'<text x="0" y="{y + 14}">{_text(name[:30])}</text>')
        drawn.append(_bar("real", _NAMES, y, wide, _ROW - 5, f"{name}: {real}"))
        more = room * exercise / most
        drawn.append(_bar("exercise", _NAMES + wide, y, more, _ROW - 5, f"{name}: {exercise}"))
    return _drawing(len(shown) * _ROW, drawn)


def _legend() -> str:
    """Return which colour is what; the tables say it without colours."""
    squares = [
        f'<svg class="key" viewBox="0 0 12 12"><rect class="{kind}" width="12" height="12"></rect>'
        f"</svg> {_text(word)}"
        for kind, word in zip(("real", "exercise"), heads()[2:], strict=True)
    ]
    return f"<p>{' &nbsp; '.join(squares)}</p>"


def _bar(kind: str, x: float, y: float, width: float, height: float, told: str) -> str:
    if not (width and height):
        return ""
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}"><title>{_text(told)}</title></rect>'
    )


def _drawing(height: int, drawn: list[str]) -> str:
    told = _text(", ".join(heads()[2:]))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{told}">'
        f"{''.join(drawn)}</svg>\n"
    )


def _text(value: str) -> str:
    """Return text as it may stand anywhere in the page, attributes included."""
    return escape(screen.clean(value), quote=True)
