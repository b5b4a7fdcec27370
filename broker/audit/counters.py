"""The gateways' own counters and clocks: a decision that was left out leaves a hole in them.

Held: one entry for every run of a gateway, one for every hole, the latest time of each gateway.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from broker.audit.findings import Exit, Findings, Places

HOLE_MAY_LAST: Final = timedelta(minutes=10)  # an honest crash is voided by then
MAY_GO_BACK_S: Final = 300  # the skew that nodes and gateways allow


@dataclass
class _Run:
    """Numbers without a hole. The leaves of a batch come in any order, so it grows both ways."""

    first: int
    last: int
    earliest_s: int


@dataclass
class _Boot:
    """One run of a gateway: its numbers, in order."""

    runs: list[_Run] = field(default_factory=list)

    def take(self, seq: int, time_s: int) -> bool:
        """Note a number; False if it was taken before."""
        if self.runs and self.runs[-1].last == seq - 1:  # as nearly always
            self.runs[-1].last = seq
            self.runs[-1].earliest_s = min(self.runs[-1].earliest_s, time_s)
            return True
        at = bisect_right(self.runs, seq, key=lambda run: run.first)
        before = self.runs[at - 1] if at else None
        after = self.runs[at] if at < len(self.runs) else None
        if before is not None and seq <= before.last:
            return False
        if before is not None and seq == before.last + 1:
            before.last = seq
            before.earliest_s = min(before.earliest_s, time_s)
            if after is not None and after.first == seq + 1:
                before.last = after.last
                before.earliest_s = min(before.earliest_s, after.earliest_s)
                del self.runs[at]
        elif after is not None and after.first == seq + 1:
            after.first = seq
            after.earliest_s = min(after.earliest_s, time_s)
        else:
            self.runs.insert(at, _Run(seq, seq, time_s))
        return True

    def holes(self, now_s: int) -> tuple[int, int]:
        """Return how many numbers are missing for long, and how many for less than ten minutes.

        A number is missing since the first time that a later one states.
        """
        old = young = 0
        since = now_s
        for index in range(len(self.runs) - 1, -1, -1):
            run = self.runs[index]
            since = min(since, run.earliest_s)
            missing = run.first - (self.runs[index - 1].last + 1 if index else 0)
            if now_s - since > HOLE_MAY_LAST.total_seconds():
                old += missing
            else:
                young += missing
        return old, young


@dataclass
class Counters:
    """Takes what each leaf says, in the order of the log."""

    _boots: dict[tuple[str, int], _Boot] = field(default_factory=dict)
    _latest: dict[str, int] = field(default_factory=dict)
    _twice: Places = field(default_factory=Places)
    _back: Places = field(default_factory=Places)

    def take(self, index: int, *, gateway: str, boot: int, seq: int, time_s: int) -> None:
        """Note one leaf."""
        found = self._boots.get((gateway, boot))
        if found is None:
            found = self._boots[gateway, boot] = _Boot()
        if not found.take(seq, time_s):
            self._twice.add(index)
        latest = self._latest.get(gateway, 0)
        if time_s < latest - MAY_GO_BACK_S:
            self._back.add(index)
        self._latest[gateway] = max(time_s, latest)

    def finish(self, findings: Findings, *, cosigned_s: int, whole: bool) -> None:
        """Say what is missing, taken twice, or goes back.

        Args:
            findings: Where to say it.
            cosigned_s: When the witnesses saw the tree of this size, or 0: what is missing then
                has been missing until then.
            whole: Whether all leaves were read; if not, the missing numbers may be with the others.
        """
        now_s = max(cosigned_s, *self._latest.values(), 0)
        holes = [boot.holes(now_s) for boot in self._boots.values()]
        old, young = sum(each for each, _ in holes), sum(each for _, each in holes)
        boots = f"{len(self._boots)} runs of gateways"
        twice = self._twice
        if twice.count:
            findings.failed("counters", f"{twice.count} numbers are taken twice, at {twice.shown}")
        if not whole:
            said = f"{boots}; {old + young} numbers are not in what was read"
            findings.skipped("counters", said, Exit.UNMET)
        elif old:
            said = f"{boots}; {old} numbers missing for more than 10 minutes, {young} for less"
            findings.failed("counters", said)
        elif young:
            findings.warned(
                "counters", f"{boots}; {young} numbers missing for less than 10 minutes"
            )
        elif not twice.count:
            findings.passed("counters", f"{boots}, no number missing")
        findings.told("times", "no gateway's clock goes back", self._back)
