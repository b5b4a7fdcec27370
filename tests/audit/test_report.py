"""Reports count what verified and nothing else, exercises apart, and hold no code of strangers."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typing_extensions import override

from broker.envelope.decision import verdict_hash
from broker.log.commitments import statement_of
from broker.log.leaf import LeafKind
from schemas.decision import Decision
from tests.audit.asking import Desk
from tests.audit.bundles import START_S, entry, leaf, put, write_log
from tests.audit.test_openings import EXERCISE, OTHER, REAL, with_record

HOSTILE = "<b>&\"'x</b>"
FORMULA = "=1+1|calc"


def whole_refusal(code: str, sender: str) -> Decision:
    header = replace(OTHER.header, code=code, sender=sender, slots=())
    return replace(OTHER, header=header, header_bytes=header.to_bytes(), openings=())


def refused(code: str) -> Decision:
    """As REAL, but one recipient refused; the header commits to that."""
    changed = with_record(REAL, accepted=False, code=code)
    hashes = list(changed.header.slots)
    for at, opening in enumerate(changed.openings):
        if opening is not None:
            hashes[at] = verdict_hash(opening)
    header = replace(changed.header, slots=tuple(hashes))
    return replace(changed, header=header, header_bytes=header.to_bytes())


SHOWN = (
    REAL,
    EXERCISE,
    refused("rule-forbids"),
    whole_refusal(HOSTILE, HOSTILE[:16]),
    whole_refusal(FORMULA, FORMULA),
)
OLD = [entry(seq, time_s=START_S - 40 * 86_400) for seq in range(3)]
REST = [
    *(entry(seq, gateway="g2", kind=LeafKind.EXERCISE) for seq in range(4)),
    entry(4, gateway="g2", kind=LeafKind.VOID),
]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    opened = [leaf(statement_of(each, boot=3, seq=seq)) for seq, each in enumerate(SHOWN)]
    log = write_log(tmp_path / "log", [*OLD, *REST, *opened])
    for index, each in enumerate(SHOWN, start=len(OLD) + len(REST)):
        put(log, f"openings/{index}", each.to_bytes())
    return log


def test_numbers_by_month_verdict_code_and_country(desk: Desk, log: Path) -> None:
    code, output = desk.report(log, "--json")
    assert code == 0, output
    told = json.loads(output)
    now = REAL.header.decided_at.strftime("%Y-%m")
    assert told["tables"]["leaves"] == [
        {"item": "2026-08", "kind": "decision", "real": 3, "exercise": 0},
        {"item": "2026-09", "kind": "decision", "real": 0, "exercise": 4},
        {"item": "2026-09", "kind": "void", "real": 1, "exercise": 0},
        {"item": now, "kind": "decision", "real": 4, "exercise": 1},
    ]
    assert told["decisions"] == {"real": 7, "exercise": 5}
    assert told["opened"] == {"real": 4, "exercise": 1}
    tables = {
        name: {row["item"]: (row["real"], row["exercise"]) for row in rows}
        for name, rows in told["tables"].items()
    }
    assert tables["verdict"] == {"accepted": (3, 1), "refused": (3, 0)}
    assert tables["refusal"] == {"rule-forbids": (1, 0), HOSTILE: (1, 0), FORMULA: (1, 0)}
    assert tables["sender"] == {"SG": (2, 1), HOSTILE[:16]: (1, 0), FORMULA: (1, 0)}
    assert tables["recipient"] == {"MY": (2, 1), "VN": (2, 0)}
    assert tables["message"] == {"alert": (4, 1)}


def test_a_table_names_countries(desk: Desk, log: Path) -> None:
    code, output = desk.report(log)
    assert code == 0
    assert "Openings show 4 of 7 decisions and 1 of 5 exercises" in output
    assert re.search(r"MY +Malaysia +2 +1", output)
    assert max(map(len, output.splitlines())) <= 80


def test_csv_starts_no_formula(desk: Desk, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.csv"
    assert desk.report(log, "--format", "csv", "--out", str(out))[0] == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {"table": "recipient", "item": "MY", "detail": "", "real": "2", "exercise": "1"} in rows
    assert f"'{FORMULA}" in {row["item"] for row in rows}
    assert not any(row["item"].startswith(("=", "+", "-", "@")) for row in rows)


class Page(HTMLParser):
    """Notes every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update((name, value or "") for name, value in attrs)

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_in_itself_and_escapes_everything(
    desk: Desk, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    assert desk.report(log, "--format", "html", "--out", str(out))[0] == 0
    raw = out.read_text("utf-8")
    page = Page()
    page.feed(raw)
    assert {"svg", "rect", "table"} < page.tags
    assert page.tags.isdisjoint({"b", "script", "img", "link", "iframe", "object", "image", "use"})
    names = {name for name, _ in page.attributes}
    assert names.isdisjoint({"src", "href", "xlink:href", "style"})
    assert not any(name.startswith("on") for name in names)
    assert "://" not in raw
    assert "url(" not in raw
    assert HOSTILE in page.text
    assert HOSTILE not in raw
    assert "Malaysia" in page.text
    again = desk.report(log, "--format", "html")[1]
    assert again == raw


def test_a_log_without_openings_has_its_months(desk: Desk, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", OLD)
    code, output = desk.report(log)
    assert (code, "Verdicts" in output) == (0, False)
    assert "Openings show 0 of 3 decisions" in output
    empty = write_log(tmp_path / "empty", [])
    for form in ("table", "csv", "html"):
        assert desk.report(empty, "--format", form)[0] == 0


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [("openings/8", 1), ("checkpoint", 2), ("tile/entries/000.p/13", 1), ("gone", 3), ("fork", 4)],
)
def test_what_does_not_verify_is_not_reported_on(
    desk: Desk, log: Path, tmp_path: Path, spoil: str, wanted: int
) -> None:
    if spoil == "gone":
        (log / "tile/entries/000.p/13").unlink()
    elif spoil == "fork":
        twin = write_log(tmp_path / "twin", OLD)
        put(log, "checkpoints/3", (twin / "checkpoint").read_bytes())
        twin = write_log(tmp_path / "other", REST[:3])
        put(log, "checkpoints/03", (twin / "checkpoint").read_bytes())
    else:
        put(log, spoil, b"rubbish")
    out = tmp_path / "report"
    code, output = desk.report(log, "--out", str(out))
    assert code == wanted
    assert "FAIL" in output
    assert not out.exists()
    told = json.loads(desk.report(log, "--json")[1])
    assert (told["ok"], told["exit"]) == (False, wanted)


def test_a_report_overwrites_nothing(desk: Desk, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.write_text("mine")
    with pytest.raises(AssertionError, match="exists already"):
        desk.report(log, "--out", str(out))
    assert out.read_text() == "mine"
