"""A stranger's silent connections shut no desk out of the TLS port: real sockets, both loops."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trustme
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from broker.api.door import Bounds, share_of
from broker.api.serving import TLSPort, serving

BOUND_S = 30.0
QUICK_S = 1.0  # time enough for what is in time, on a busy machine too
PATIENT = Bounds(handshake_s=BOUND_S, head_s=BOUND_S)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
SLOW = REQUEST.replace(b"/ ", b"/slow ")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Stage:
    """A port, how to reach it, and what lets its slow answer end."""

    port: int
    trusted: ssl.SSLContext
    release: asyncio.Event = field(default_factory=asyncio.Event)
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    async def plain(self) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        return reader, writer

    async def connect(self, source: str = "127.0.0.1") -> Streams:
        reader, writer = await asyncio.open_connection(
            *("127.0.0.1", self.port),
            ssl=self.trusted,
            server_hostname="localhost",
            local_addr=(source, 0),
        )
        self.opened.append(writer)
        return reader, writer

    async def shut_out(self, source: str = "127.0.0.1") -> None:
        with pytest.raises(OSError):  # noqa: PT011 - as the system says it: reset, or closed
            await self.connect(source)


async def answered(streams: Streams, request: bytes = REQUEST) -> None:
    reader, writer = streams
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(2) == b"ok"


async def ended(reader: asyncio.StreamReader) -> None:
    """Return once the other side has closed; fail if it says anything first."""
    try:
        assert await reader.read(1) == b""
    except ConnectionError:
        return


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLSPort:
    folder, authority = tmp_path_factory.mktemp("door"), trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return TLSPort("127.0.0.1", 0, folder / "server.pem", folder / "key.pem")


@asynccontextmanager
async def offered(tls: TLSPort, bounds: Bounds) -> AsyncIterator[Stage]:
    async def quick(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def slow(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"o"
            await stage.release.wait()
            yield b"k"

        return StreamingResponse(pieces(), headers={"content-length": "2"})

    trusted = ssl.create_default_context(cafile=tls.certificate.with_name("ca.pem"))
    app = Starlette(routes=[Route("/", quick), Route("/slow", slow)])
    async with serving(app, tls=replace(tls, bounds=bounds)) as served:
        stage = Stage(served.port, trusted)
        try:
            yield stage
        finally:
            for writer in stage.opened:
                writer.transport.abort()


@pytest.fixture(params=LOOPS)
def on(request: pytest.FixtureRequest, tls: TLSPort) -> "On":
    loop = LOOPS[request.param]

    def run(bounds: Bounds, story: Callable[[Stage], Coroutine[None, None, None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(4 * BOUND_S), offered(tls, bounds) as stage:
                await story(stage)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(whole())

    return run


On = Callable[[Bounds, Callable[[Stage], Coroutine[None, None, None]]], None]


def test_who_never_begins_a_handshake_is_shut_out(on: On) -> None:
    async def story(stage: Stage) -> None:
        reader, _ = await stage.plain()
        await ended(reader)

    on(replace(PATIENT, handshake_s=QUICK_S), story)


def test_who_never_asks_is_shut_out(on: On) -> None:
    async def story(stage: Stage) -> None:
        reader, _ = await stage.connect()
        await ended(reader)

    on(replace(PATIENT, head_s=QUICK_S), story)


def test_a_head_that_trickles_is_not_waited_for(on: On) -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        closed = asyncio.ensure_future(ended(reader))  # noqa: TID251 - beside what trickles
        for byte in REQUEST * 100:
            writer.write(bytes([byte]) if byte != 10 else b"a")  # no line ever ends
            done, _ = await asyncio.wait([closed], timeout=QUICK_S / 20)
            if done:
                break
        await closed

    on(replace(PATIENT, head_s=QUICK_S), story)


def test_a_second_head_has_the_same_deadline_as_the_first(on: On) -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        await answered((reader, writer))
        writer.write(REQUEST[:-4])
        await ended(reader)

    on(replace(PATIENT, head_s=QUICK_S), story)


def test_an_answer_may_take_as_long_as_it_takes(on: On) -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(SLOW)
        await reader.readuntil(b"\r\n\r\n")
        silent, _ = await stage.connect()
        await ended(silent)  # so the deadline of the one that asks is over, too
        stage.release.set()
        assert await reader.readexactly(2) == b"ok"
        await answered((reader, writer))

    on(replace(PATIENT, head_s=QUICK_S), story)


def test_silent_connections_of_one_address_leave_room_for_others(on: On) -> None:
    async def story(stage: Stage) -> None:
        silent = [await stage.plain(), await stage.connect()]
        await stage.shut_out()
        await answered(await stage.connect("127.0.0.2"))
        _, writer = silent.pop()
        writer.transport.abort()
        async with asyncio.timeout(BOUND_S):
            while True:  # the server hears of it when it hears of it
                try:
                    await answered(await stage.connect())
                except OSError:
                    continue
                break

    on(replace(PATIENT, per_address=2), story)


def test_a_failed_handshake_gives_its_place_back(on: On) -> None:
    async def story(stage: Stage) -> None:
        for _ in range(5):
            reader, writer = await stage.plain()
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.read()  # an alert, and the end
            writer.close()
        await answered(await stage.connect())

    on(replace(PATIENT, per_address=1), story)


def test_there_are_never_more_connections_than_the_port_grants(on: On) -> None:
    async def story(stage: Stage) -> None:
        kept = [await stage.connect("127.0.0.2"), await stage.connect("127.0.0.3")]
        await stage.shut_out("127.0.0.4")
        for streams in kept:
            await answered(streams)

    on(replace(PATIENT, whole=2), story)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%lo", "fe80::2%lo", True),
    ],
)
def test_a_peer_is_an_address_or_a_network_that_one_machine_may_have(
    one: str, other: str, *, same: bool
) -> None:
    assert (share_of(one) == share_of(other)) is same
