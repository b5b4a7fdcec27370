"""Waits until the directory names the log: before that no member knows of it, or cosigns it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from broker.ledger.cosigning import Cosigning
from broker.ledger.standings import SAY_AFTER_S
from broker.logs import get_logger
from broker.transport.link import Link
from keys.errors import KeysError

NAMED_POLL_S: Final = 1.0
UNNAMED: Final = "log-unnamed"
_log = get_logger()


async def serve_once_named(
    cosigning: Cosigning,
    link: Link,
    named: Callable[[], bool],
    *,
    steady: Callable[[], float] = time.monotonic,
    poll_s: float = NAMED_POLL_S,
) -> None:
    """Answer witnesses as soon as the directory names the log, and say so while it does not.

    Args:
        cosigning: Does not let the log grow before.
        link: On the hub's own account.
        named: Whether the directory does now; may raise KeysError.
        steady: Seconds, never put right.
        poll_s: Between two looks.
    """
    said_s = steady()
    while not _is(named):
        await asyncio.sleep(poll_s)
        if (now_s := steady()) - said_s >= SAY_AFTER_S:
            said_s = now_s
            _log.error(UNNAMED, alarm=UNNAMED)
    await cosigning.serve(link)


def _is(named: Callable[[], bool]) -> bool:
    try:
        return named()
    except KeysError as error:  # the sequencer says so
        _log.debug("directory-not-read", error_code=error.code)
        return False
