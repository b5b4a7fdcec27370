"""Starts a program that ends with its parent, and that never runs twice on one folder.

Run as a script, with the standard library alone: PARENT LOCK PROGRAM ARGUMENT... The lock is
handed to the program and so held for as long as that lives: a successor waits here until it is
gone, however the parent died. LOCK is empty where several may run.
"""

import ctypes
import fcntl
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); Linux alone has it


def main() -> None:
    """Become the program."""
    parent, lock, *program = sys.argv[1:]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if lock:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(handle, True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    if os.getppid() == int(parent):  # else it died before the kernel was told to tell
        os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
