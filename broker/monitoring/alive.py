"""Asks the process of this home folder whether it is alive, for a container's health check.

    python -m broker.monitoring.alive [PATH]

PATH is `/healthz` if not given. Ends with 0 on an answer of 200, else with 1.
"""

import sys
from typing import Final

from broker.monitoring.unix import is_well
from broker.settings import home

SOCKETS: Final = ("hub/metrics/socket", "node/api.sock")


def main() -> None:
    """Ask every process that has its socket in this home folder."""
    question = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
    sockets = [path for name in SOCKETS if (path := home() / name).is_socket()]
    sys.exit(not (sockets and all(is_well(path, question) for path in sockets)))


if __name__ == "__main__":
    main()
