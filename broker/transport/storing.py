"""Whether a server still stores what it is handed, as it says itself to the system account.

nats-server keeps the first error of writing to a stream or consumer, a full disk for example. From
then on it stores nothing more there, answers no publish, and goes on so when there is room again,
until it is started anew. Source: nats-server 2.15, `healthz`; its pull request 7788.
"""

import json
from typing import Any, Final

from broker.transport.answers import answer_in
from broker.transport.errors import Refused
from broker.transport.link import Link

HEALTH: Final = "$SYS.REQ.SERVER.PING.HEALTHZ"
_WRITING: Final = "write error"  # of stream, consumer, meta layer or node: all are said so
_OFF: Final = "JetStream not enabled"  # shut down by what went wrong


def stores(raw: bytes) -> bool:
    """Return whether a server's answer names no error of writing; other faults are not meant.

    Args:
        raw: From the server; no more is read of it than that.

    Raises:
        Refused: It is no answer.
    """
    found: Any = answer_in(raw).get("data")
    if not isinstance(found, dict):
        raise Refused(0, "an answer without health")
    error = found.get("error", "")
    return not (isinstance(error, str) and any(word in error for word in (_WRITING, _OFF)))


async def ask_stores(system: Link, server: str) -> bool:
    """Return whether this server stores all that it is handed.

    Args:
        system: On the system account.
        server: Its name; empty for the only one.

    Raises:
        TransportError: It did not answer.
    """
    asked = {"server_name": server, "exact_match": True} if server else {}
    return stores(await system.request(HEALTH, json.dumps(asked).encode()))
