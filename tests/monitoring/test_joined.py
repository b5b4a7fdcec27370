"""Counts of several processes are shown as one, each under its own name; a bad file spoils none."""

from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from broker import clock
from broker.api.monitoring import exposition_of
from broker.monitoring.joined import MISSING, REPORT_AGE, JoinedReports
from broker.monitoring.report import write_report


def counted(folder: Path, process: str, count: int) -> None:
    registry = CollectorRegistry()
    Counter("kentong_x", "What x is", ("code",), registry=registry).labels("a").inc(count)
    write_report(registry, folder / f"{process}.prom")


def values(folder: Path, *, later_s: int = 0) -> dict[tuple[str, str], float]:
    now = clock.now() + timedelta(seconds=later_s)
    text = exposition_of(lambda: JoinedReports(folder).families(now)).decode()
    return {
        (sample.name, sample.labels["process"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_process_has_its_own_series_under_one_help(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-1", 3)
    counted(tmp_path, "gateway-2", 4)
    shown = values(tmp_path)
    assert shown[("kentong_x_total", "gateway-1")] == 3
    assert shown[("kentong_x_total", "gateway-2")] == 4
    text = exposition_of(lambda: JoinedReports(tmp_path).families(clock.now())).decode()
    assert text.count("# HELP kentong_x_total What x is") == 1
    assert "_created" not in text


def test_a_silent_process_shows_by_its_age(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-1", 1)
    assert values(tmp_path, later_s=100)[(REPORT_AGE, "gateway-1")] >= 99


def test_a_process_that_must_run_and_never_reported_is_missing(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-1", 1)
    (tmp_path / "gateway-2.prom").write_text("kentong_x_total{code=\n")
    expected = ("gateway-1", "gateway-2", "log-sequencer")
    text = exposition_of(lambda: JoinedReports(tmp_path).families(clock.now(), expected=expected))
    shown = {
        sample.labels["process"]: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == MISSING
    }
    assert shown == {"gateway-1": 0, "gateway-2": 1, "log-sequencer": 1}


def test_what_does_not_parse_or_has_a_strange_name_is_left_out(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-1", 1)
    before = set(values(tmp_path))
    (tmp_path / "gateway-2.prom").write_bytes(b"kentong_x{ 1\n\xff")
    (tmp_path / "gateway-3.prom").write_text("kentong_x_total{code=\n")
    counted(tmp_path, "Not a Process", 1)
    assert set(values(tmp_path)) == before


def test_a_new_run_forgets_the_processes_of_the_last(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-9", 1)
    JoinedReports(tmp_path).forget()
    assert values(tmp_path) == {}


def test_others_cannot_read_a_report(tmp_path: Path) -> None:
    counted(tmp_path, "gateway-1", 1)
    assert (tmp_path / "gateway-1.prom").stat().st_mode & 0o077 == 0
