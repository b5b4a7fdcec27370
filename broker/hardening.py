"""What each process of ours denies itself before it reads a key. Source: prctl(2), getrlimit(2)."""

import ctypes
import os
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # Linux alone has it
_SECRETS: Final = ("PGPASSWORD",)
"""Variables by which a library of ours would take a secret that we take by file alone."""


def forbid_core_dumps() -> None:
    """Let no crash write this process's memory to a disk, nor a like-minded process read it.

    Programs started later inherit the limit; those of ours deny themselves the rest again. Where
    a supervisor already took the right to change limits, its own stands.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit alone does not stop a core that the kernel pipes to a program.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def forget_secrets() -> None:
    """Take secrets out of the environment: no library uses one, and no child inherits it."""
    for name in _SECRETS:
        os.environ.pop(name, None)  # noqa: TID251 - wiped, not read
