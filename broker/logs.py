"""Structured logs that cannot say what an alert says.

Only the fields named here pass, and only as short tokens; anything else becomes a count of what
was dropped. An exception is written as its class and code, never its text: libraries quote input.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger
from typing_extensions import override

from broker.settings import settings

ALLOWED: Final = frozenset(
    {
        "account",
        "alarm",
        "alert_id",
        "attempt",
        "attempts",
        "batch",
        "boot",
        "bytes",
        "code",
        "connected",
        "count",
        "cursor",
        "deferred",
        "delay_s",
        "delivered",
        "depth",
        "detail",
        "digest",
        "duration_ms",
        "error",
        "error_code",
        "event",
        "expires_at",
        "gap",
        "gaps",
        "gateway",
        "held",
        "id",
        "item",
        "incarnation",
        "kid",
        "kind",
        "lag",
        "lane",
        "last",
        "leaf",
        "level",
        "lines",
        "logger",
        "member",
        "members",
        "pair",
        "peer",
        "pid",
        "port",
        "process",
        "recipient",
        "refused",
        "retry",
        "retry_after_s",
        "role",
        "root",
        "rule",
        "seconds",
        "sender",
        "seq",
        "sequence",
        "server",
        "shown",
        "signal",
        "size",
        "skew_s",
        "snapshot",
        "state",
        "status",
        "stream",
        "stream_seq",
        "timestamp",
        "type",
        "verdict",
        "version",
        "void",
        "voided",
        "witnesses",
        "worker",
    }
)
_ENCODER: Final = json.JSONEncoder(sort_keys=True)  # `dumps` makes one for each line
_PLAIN: Final = (bool, int, float, type(None))
MAX_ALARMS: Final = 256  # words remembered; there are some fifty
_said: Final[dict[str, float]] = {}  # As the log itself, of the process; `_note_alarm` writes it.
_TOKEN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_.:/+@-]{0,159}")


def configure(process: str) -> None:
    """Write JSON lines to standard error; each carries `process`."""
    level = logging.getLevelNamesMapping().get(settings().log_level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _name_errors,
            _only_allowed,
            _note_alarm,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(),
    )
    structlog.contextvars.bind_contextvars(process=process)
    # Libraries quote what they were given; their level and place are all that may pass.
    logging.basicConfig(handlers=[_LibraryRecords()], level=logging.WARNING, force=True)


def alarms_said() -> Mapping[str, float]:
    """Return when this process last logged each alarm, in seconds since 1970, by its word."""
    return MappingProxyType(_said)


def get_logger() -> FilteringBoundLogger:
    """Return the logger; its events are fixed words, its fields ids, codes and counts."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


class _Lines:
    """Writes lines to standard error; a full disk loses a line, never the work it speaks of."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    log = debug = info = warning = warn = error = err = critical = fatal = exception = failure = msg


class _LibraryRecords(logging.Handler):
    @override
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        get_logger().warning("library", logger=record.name, error=error, lines=record.lineno)


def _name_errors(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["error_code"] = str(getattr(error, "code", ""))
    return event


def _note_alarm(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    alarm = event.get("alarm")
    if isinstance(alarm, str) and (alarm in _said or len(_said) < MAX_ALARMS):
        _said[alarm] = datetime.fromisoformat(event["timestamp"]).timestamp()
    return event


def _as_json(event: EventDict, **_: object) -> str:
    return _ENCODER.encode(event)


def _only_allowed(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    kept: EventDict = {}
    for name, value in event.items():
        if name not in ALLOWED:
            continue
        if isinstance(value, _PLAIN):
            kept[name] = value
        elif isinstance(value, bytes):
            kept[name] = value.hex()[:64]
        elif name == "event" or _TOKEN.fullmatch(str(value)):
            kept[name] = str(value)
    if missing := len(event) - len(kept):
        kept["dropped"] = missing
    return kept
