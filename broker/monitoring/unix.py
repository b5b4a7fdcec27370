"""One question over HTTP to a process on this machine, by the standard library alone."""

import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from typing_extensions import override

TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("kentong", timeout=TIMEOUT_S)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def asked(path: Path, question: str) -> tuple[int, bytes] | None:
    """Return status and body of the answer to `GET question`; None if nothing answers."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", question)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def is_well(path: Path, question: str) -> bool:
    """Return whether a question is answered with 200."""
    answer = asked(path, question)
    return answer is not None and answer[0] == HTTPStatus.OK
