"""A process that is killed in the middle of its work: at a step that it counts itself."""

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

WHOLE, RAISED = 0, 7


@dataclass
class Death:
    """Kills the process at one of its steps.

    Attributes:
        at: Which one, from 1; 0: never.
        passed: How many there were.
    """

    at: int = 0
    passed: int = 0

    def step(self) -> None:
        """Count one more, and be killed by it if it is the one."""
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def ended(work: Callable[[], Coroutine[object, object, None]]) -> int:
    """Do it in a child with a loop of its own; return the exit code, negative for a signal.

    Call it in a thread: the child has that thread alone, and so no running loop. What it needs of
    connections and databases it must open itself.
    """
    child = os.fork()
    if not child:
        try:
            asyncio.run(work())
            os._exit(WHOLE)
        except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(RAISED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
