"""What the sequencer counts: how large the log is, what waits, how far the witnesses are."""

import asyncio
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge

from broker.errors import BrokerError
from broker.ledger.commit import Committer
from broker.ledger.cosigning import Cosigning
from broker.ledger.errors import LedgerError
from broker.ledger.reading import AuditReader
from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.note import parse_note
from broker.logs import get_logger
from broker.monitoring.report import REPORT_S
from broker.store.tilefiles import CHECKPOINT, COSIGNED, TileFiles

_log = get_logger()


@dataclass
class LogMeasures:
    """The gauges of one sequencer; `keep` alone sets them."""

    files: TileFiles
    committer: Committer
    reader: AuditReader
    cosigning: Cosigning
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self._size = self._gauge("size_leaves", "Leaves of the published checkpoint")
        self._cosigned = self._gauge(
            "cosigned_leaves", "Leaves of the checkpoint that a quorum cosigned"
        )
        self._lag = self._gauge(
            "witness_lag_leaves", "Published leaves that no quorum cosigned yet"
        )
        self._shown_at = self._gauge(
            "checkpoint_timestamp_seconds", "When the checkpoint was published, seconds since 1970"
        )
        self._cosigned_at = self._gauge(
            "cosigned_timestamp_seconds", "When a quorum cosigned last, seconds since 1970"
        )
        self._waiting = self._gauge(
            "waiting_records", "Records of decisions that are no leaves yet"
        )
        self._signer = self._gauge("signer_up", "1 while the signer answers")
        self._witnesses = self._gauge(
            "witnesses_heard", "Witnesses that were heard of since the log started"
        )
        self._behind = self._gauge(
            "witness_ahead", "1 if a witness saw more leaves than this log has"
        )

    async def keep(self) -> None:
        """Set the gauges for ever."""
        while True:
            try:
                await self.measure()
            except (BrokerError, LogError) as error:
                _log.warning("not-measured", error_code=error.code)
            await asyncio.sleep(REPORT_S)

    async def measure(self) -> None:
        """Set the gauges once.

        Raises:
            BrokerError: The server or the database did not answer.
            LogError: A published checkpoint does not parse.
        """
        size, cosigned = self._leaves(CHECKPOINT), self._leaves(COSIGNED)
        self._size.set(size)
        self._cosigned.set(cosigned)
        self._lag.set(max(0, size - cosigned))
        self._shown_at.set(self._written_s(CHECKPOINT))
        self._cosigned_at.set(self._written_s(COSIGNED))
        self._witnesses.set(len(self.cosigning.standings.latest))
        seen = [each.checkpoint.size for each in self.cosigning.standings.latest.values() if each]
        self._behind.set(max(seen, default=0) > size)
        try:
            await self.committer.signer.state()
            self._signer.set(1)
        except LedgerError:
            self._signer.set(0)
        positions = await self.committer.state.positions()
        self._waiting.set(await self.reader.waiting(positions))

    def _leaves(self, name: str) -> int:
        raw = self.files.raw(name)
        return 0 if raw is None else parse_checkpoint(parse_note(raw).text).size

    def _written_s(self, name: str) -> float:
        try:
            return (self.files.folder / name).stat().st_mtime
        except OSError:
            return float("nan")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"kentong_log_{name}", text, registry=self.registry)
