"""Joins the counts that a hub's processes wrote down, each under its own name."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from broker.monitoring.report import SUFFIX

MAX_REPORTS: Final = 256  # files read at one time; a hub has about a tenth
MAX_REPORT_BYTES: Final = 1024 * 1024
REPORT_AGE: Final = "kentong_process_report_age_seconds"
MISSING: Final = "kentong_process_missing"
_PROCESS: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_CREATED: Final = "_created"  # when each series began: twice the series, and nobody asks


@dataclass(frozen=True)
class JoinedReports:
    """What the files of one folder say together."""

    folder: Path

    def families(self, now: datetime, *, expected: Collection[str] = ()) -> Iterator[Metric]:
        """Yield every family with a label `process`, the age of each report, and who is missing.

        A file that cannot be read or parsed is left out: its process then has no age either.

        Args:
            now: The hub's clock.
            expected: Processes that must report. One that never did has no age that could grow.
        """
        found: dict[str, Metric] = {}
        ages = GaugeMetricFamily(
            REPORT_AGE,
            "Seconds since a process of the hub last wrote its counts; it writes every five",
            labels=["process"],
        )
        for path in sorted(self.folder.glob(f"*{SUFFIX}"))[:MAX_REPORTS]:
            if not _PROCESS.fullmatch(path.stem):
                continue
            try:
                with path.open(encoding="utf-8") as file:
                    text = file.read(MAX_REPORT_BYTES)
                _join(found, text, path.stem)
                written_s = path.stat().st_mtime
            except (OSError, ValueError):
                continue
            ages.add_metric([path.stem], max(0.0, now.timestamp() - written_s))
        yield from found.values()
        yield ages
        heard = {sample.labels["process"] for sample in ages.samples}
        missing = GaugeMetricFamily(
            MISSING,
            "1 for a process that must run and has not reported since the hub began",
            labels=["process"],
        )
        for process in expected:
            missing.add_metric([process], process not in heard)
        yield missing

    def forget(self) -> None:
        """Remove what processes of an earlier run left."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            path.unlink(missing_ok=True)


def _join(found: dict[str, Metric], text: str, process: str) -> None:
    for family in list(text_string_to_metric_families(text)):  # all of it parses, or none counts
        if family.name.endswith(_CREATED):
            continue
        whole = found.setdefault(
            family.name, Metric(family.name, family.documentation, family.type)
        )
        whole.samples += [
            sample._replace(labels={**sample.labels, "process": process})
            for sample in family.samples
        ]
