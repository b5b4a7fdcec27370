"""Voids numbers of runs that ended, where the worker itself cannot: it lost the file of its runs.

A worker voids what its earlier runs left open. What is still missing two minutes after a worker of
the same name began again can never be used, so the log gives it back, under its own signature.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.ledger.commit import Entry
from broker.ledger.intake import NOWHERE, Witnessed
from broker.ledger.state import LedgerState, Number
from broker.log.announcement import STARTED
from broker.log.leaf import KIND_AT, TIME_STEP_S, LeafKind, Statement, parse_leaf
from broker.logs import get_logger

WORKER_HAS: Final = timedelta(minutes=2)  # to void them itself; auditors bear ten
_RUN: Final = "run/"
_log = get_logger()


@dataclass
class Holes:
    """The newest run of each worker, and whose earlier runs are to be looked at when.

    Attributes:
        runs: By worker: the run, in hexadecimal.
    """

    pen: Witnessed
    state: LedgerState
    now: Callable[[], datetime]
    runs: dict[str, str] = field(default_factory=dict)
    _due: dict[str, datetime] = field(default_factory=dict)

    def remember(self, marks: Mapping[str, str]) -> None:
        """Take what was remembered, and look at all of it once."""
        for mark, boot in marks.items():
            if mark.startswith(_RUN):
                self._begun(mark.removeprefix(_RUN), boot)

    def seen(self, entries: Sequence[object]) -> dict[str, str | None]:
        """Return what is to be remembered of the runs that began among `entries`."""
        marks: dict[str, str | None] = {}
        for each in entries:
            if isinstance(each, Entry) and each.raw[KIND_AT] == LeafKind.GATEWAY:
                said = parse_leaf(each.raw).signed.statement
                if said.c_body == STARTED:
                    boot = f"{said.boot:016x}"
                    marks[f"{_RUN}{said.gateway}"] = boot
                    self._begun(said.gateway, boot)
        return marks

    async def voided(self, read: Sequence[object]) -> list[Entry]:
        """Return the leaves that give back what is missing and due.

        Args:
            read: What is about to be appended, and so is not missing.
        """
        now = self.now()
        there = {each.number for each in read if isinstance(each, Entry)}
        entries: list[Entry] = []
        for gateway in [each for each, due in self._due.items() if due <= now]:
            del self._due[gateway]
            missing = await self.state.missing(gateway, but=self.runs[gateway])
            for number in (each for each in missing if each not in there):
                entries.append(self._void(number, now))
                _log.warning("number-voided", gateway=gateway, boot=f"{number.boot:016x}")
        return entries

    def _begun(self, gateway: str, boot: str) -> None:
        self.runs[gateway] = boot
        self._due[gateway] = self.now() + WORKER_HAS

    def _void(self, number: Number, now: datetime) -> Entry:
        time_s = int(now.timestamp())
        time_s -= time_s % TIME_STEP_S
        said = Statement(LeafKind.VOID, time_s, number.gateway, number.boot, number.seq)
        return Entry(said.sign(self.pen.key).found_at(NOWHERE, 0).to_bytes(), number)
