"""Asks the process of this home folder whether it is alive, for a container's health check.

    python -m broker.monitoring.alive [PATH]

PATH is `/healthz` if not given. Ends with 0 on an answer of 200, else with 1. The standard library
alone, but for the settings: a check that runs every half minute must stay small.
"""

import socket
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from typing_extensions import override

from broker.settings import home

TIMEOUT_S: Final = 5.0
SOCKETS: Final = ("hub/metrics/socket", "node/api.sock")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("kentong", timeout=TIMEOUT_S)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def answers(path: Path, question: str) -> bool:
    """Return whether the process behind a socket answers a question with 200."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", question)
        return connection.getresponse().status == 200  # noqa: PLR2004 - OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Ask every process that has its socket in this home folder."""
    question = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
    sockets = [path for name in SOCKETS if (path := home() / name).is_socket()]
    sys.exit(not (sockets and all(answers(path, question) for path in sockets)))


if __name__ == "__main__":
    main()
