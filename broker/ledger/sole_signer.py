"""That one process alone is a log's signer: two of them could sign two histories.

Each signer holds in memory what it signed last, so a second one on the same file would sign the
place that the first has filled meanwhile. The lock is older than the state that is read and lives
as long as its process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from broker.ledger.errors import LedgerError

_LOCK: Final = ".lock"
_MODE: Final = 0o600


@contextmanager
def sole_signer(folder: Path) -> Iterator[None]:
    """Be the only signer of the state in `folder` while the block runs.

    Raises:
        LedgerError: `signer-running`: another process is; it may end. `no-signer-state`: there is
            no such folder, or no lock can be held in it.
    """
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise LedgerError("no-signer-state", f"{folder} takes no lock: {error}") from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerError(
            "signer-running", f"another process signs in {folder}: let it end", retry="later"
        ) from None
    except OSError as error:
        raise LedgerError("no-signer-state", f"{folder} takes no lock: {error}") from error
