"""Each part of the benchmark measures something, with its goals; never how fast."""

import json
from pathlib import Path

import pytest

from tests.bench import publish
from tests.bench.__main__ import Run
from tests.bench.asked import PARTS
from tests.bench.counts import TINY
from tests.bench.results import table
from tests.bench.stage import DEFAULT_SYNC

pytestmark = [pytest.mark.hub, pytest.mark.processes]


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_every_part_measures_and_is_published(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run(TINY, syncs=(DEFAULT_SYNC,))
    await run.all(tmp_path_factory.mktemp("b"))
    assert {part["part"] for part in run.found} == set(PARTS)
    for part in run.found:
        assert part["rows"], part["notes"]
        assert any(row["value"] > 0 for row in part["rows"])  # tiny counts round some down to 0
    assert "goal" in table(run.found)
    page = tmp_path / "performance.md"
    page.write_text(
        f"{publish.GOALS}\nSTALE\n{publish.GOALS_END}\nbetween\n{publish.BEGIN}\nSTALE\n{publish.END}\n"
        f"{publish.COSTS}\nSTALE\n{publish.COSTS_END}\n"
    )
    told = tmp_path / "run.json"
    told.write_text(json.dumps({"head": "tiny", "at": "2026-11-25", "parts": run.found}))
    monkeypatch.setattr(publish, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["publish", str(told)])
    publish.main()
    assert "(a) Gateway" in page.read_text()
    assert "| gateway, two workers: at least 1.6 of one | **" in page.read_text()
    assert "between" in page.read_text()
    assert "| gateway worker: the same | " in page.read_text()
    assert "STALE" not in page.read_text()
    assert "alerts/s" in (tmp_path / "performance-throughput.svg").read_text()
