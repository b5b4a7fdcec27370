"""Who may hold a connection of the TLS port: whoever says nothing is shut out soon, and alone.

Without this, some hundred connections of a stranger who never sends a request would be as many
desks that get no answer, for as long as he likes. So a handshake and each request's head have a
deadline, which no byte puts off, and each address has a share of all connections.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from socket import socket
from typing import Any, Final

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from broker.logs import get_logger

_BACKLOG: Final = 128
_log = get_logger()
_FULL_S: Final = 1.0  # until the next try where this process may open no more files


@dataclass(frozen=True)
class Bounds:
    """What one port grants.

    Attributes:
        handshake_s: Seconds for the TLS handshake, and for its end.
        head_s: Seconds until a request's head is whole, from the connection or the last answer on.
        per_address: Connections at one time of one IPv4 address, or of one IPv6 network of 64
            bits, which one machine may have all to itself.
        whole: Connections at one time of all.
    """

    handshake_s: float = 20.0  # on a line that loses packets, each way takes seconds
    head_s: float = 20.0
    per_address: int = 128
    whole: int = 640


DEFAULT_BOUNDS: Final = Bounds()


@dataclass
class Ticket:
    """One connection's place."""

    door: "Door"
    share: str
    _left: bool = False

    def leave(self) -> None:
        """Give the place back, once."""
        if not self._left:
            self._left = True
            self.door.leave(self.share)


@dataclass
class Door:
    """Counts the connections of one port. Owned by its event loop."""

    bounds: Bounds
    _held: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str) -> Ticket | None:
        """Return a place for a connection from this address; None if it has its share."""
        share = share_of(address)
        if self._held[share] >= self.bounds.per_address:
            return None
        if self._held.total() >= self.bounds.whole:
            return None
        self._held[share] += 1
        return Ticket(self, share)

    def leave(self, share: str) -> None:
        """Count a connection less."""
        self._held[share] -= 1
        if not self._held[share]:
            del self._held[share]  # else every address that ever came would be kept

    async def admit_for_ever(
        self,
        listener: socket,
        context: ssl.SSLContext,
        protocol: Callable[[Ticket], asyncio.Protocol],
    ) -> None:
        """Take connections from `listener`, which listens, until this task is cancelled.

        Connections that stand by then go on.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, address = await loop.sock_accept(listener)
                except OSError:  # too many open files, most likely; or the stranger has gone
                    await asyncio.sleep(_FULL_S)
                    continue
                ticket = self.enter(address[0])
                if ticket is None:
                    accepted.close()
                    continue
                group.create_task(self._shake_hands(accepted, context, ticket, protocol))

    async def _shake_hands(
        self,
        accepted: socket,
        context: ssl.SSLContext,
        ticket: Ticket,
        protocol: Callable[[Ticket], asyncio.Protocol],
    ) -> None:
        limit_s, ours = self.bounds.handshake_s, False
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol(ticket),
                accepted,
                ssl=context,
                ssl_handshake_timeout=limit_s,
                ssl_shutdown_timeout=limit_s,
            )
            ours = True
        except OSError as error:  # no TLS, another version, too slow, or gone
            _log.debug("handshake-failed", error=type(error).__name__)
        except Exception:  # noqa: BLE001 - the edge of a task: one stranger must not close the port
            _log.exception("handshake-failed")
        finally:
            if not ours:  # else the protocol gives the place back
                ticket.leave()
                with suppress(OSError):
                    accepted.close()


class HeadInTime(H11Protocol):
    """HTTP for a connection that is ended when its next request does not begin in time."""

    def __init__(self, *, head_s: float, ticket: Ticket, **others: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**others)
        self._head_s = head_s
        self._ticket = ticket
        self._deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._ticket.leave()
        super().connection_lost(exc)

    @override
    def handle_events(self) -> None:
        super().handle_events()
        if self._answering:
            self._stop_waiting()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()  # it may begin with the next request at once
        if not (self._answering or self.transport.is_closing()):
            self._wait()

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn says that there always is one
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._head_s, self._end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self.transport.abort()  # a TLS farewell would wait for an answer


def share_of(address: str) -> str:
    """Return what counts as one peer: the address, or the network of 64 bits that it is in."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> 64:x}::/64"
    return str(parsed)


def listen(listener: socket) -> None:
    """Let a bound socket take connections."""
    listener.setblocking(False)
    listener.listen(_BACKLOG)
