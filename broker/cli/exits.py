"""How a command ends, for scripts. `kentong audit verify` has codes of its own."""

from typing import Final

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_MISUSE: Final = 2
EXIT_UNDECIDED: Final = 3  # queued, and not decided at the end of `--wait`
EXIT_UNREACHABLE: Final = 4
EXIT_FAULT: Final = 5  # of this machine: a key, a profile, a disk
