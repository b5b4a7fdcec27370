"""Writes one process's counts to a file, where the hub finds them and shows them with its own.

A file and not a port: a gateway worker needs no further listener, a count survives its process
until the next one begins, and whoever prefers node_exporter's text files can read the same.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from broker.logs import get_logger
from broker.monitoring.alarmlines import OF_PROCESS, AlarmLines
from keys.files import make_private_folder

REPORT_S: Final = 5.0
SUFFIX: Final = ".prom"
LOG_SEQUENCER: Final = "log-sequencer"  # the name of the log's process, beside gateway-1 and so on
_log = get_logger()


async def keep_reporting(registry: CollectorRegistry, path: Path) -> None:
    """Write the counts to `path` for ever.

    Args:
        registry: Of this process alone.
        path: Ends with `.prom`; its name is the process's.

    Raises:
        KeyFileError: The folder cannot be made, or others may enter it.
    """
    make_private_folder(path.parent)
    registry.register(AlarmLines(OF_PROCESS))
    while True:
        try:
            write_report(registry, path)
        except OSError as error:  # a full disk costs counts, never traffic
            _log.warning("not-reported", error=type(error).__name__)
        await asyncio.sleep(REPORT_S)


def write_report(registry: CollectorRegistry, path: Path) -> None:
    """Write the counts once. Not synced: after a power failure they begin anew.

    Raises:
        OSError: The file cannot be written; the old one stands.
    """
    fresh = path.with_name(f".{path.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
        file.write(generate_latest(registry))
    fresh.rename(path)
