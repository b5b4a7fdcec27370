"""The node's witness over real HTTP: statuses, types and bodies of C2SP tlog-witness."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import trustme
from typing_extensions import override

from broker.api import TLSPort, serving
from broker.api.limits import Limits
from broker.api.serving import PlainPort
from broker.api.witnessing import MAX_BODY_BYTES, READ_AT_ONCE, witness_app
from broker.cli.admin.node_place import NodeConfig, NodePlace, _witness_port
from broker.cli.admin.node_ports import witnessing
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.merkle import Frontier, consistency_proof, leaf_hash
from broker.log.note import Note, parse_line, parse_note
from broker.log.tiles import lookup_in
from broker.log.witness import WitnessRequest
from broker.node.suspects import MAX_WAITING
from broker.node.witnessdoor import WitnessDoor
from broker.store.errors import StoreError
from keys.primitives.hashing import sha256
from tests.ledger.growing import ORIGIN, entries
from tests.support.nodes import Clock
from tests.support.witnesses import KEYS, Watched, watching

pytestmark = [pytest.mark.hub, pytest.mark.timeout(90), pytest.mark.usefixtures("databases")]
SIZE_TYPE = "text/x.tlog.size"
TEXT = "text/plain; charset=utf-8"
NEWEST = f"/{sha256(ORIGIN.encode()).hex()}/checkpoint"
LOCAL = PlainPort("127.0.0.1", 0)


@dataclass
class Scene:
    """A log, its nodes, and a stranger at the door of SG's witness."""

    watched: Watched
    client: httpx.AsyncClient

    def note(self) -> Note:
        return parse_note(self.watched.committer.files.checkpoint() or b"")

    def request(self, old: int) -> bytes:
        """The newest checkpoint, proved to extend `old` leaves."""
        note = self.note()
        size = parse_checkpoint(note.text).size
        lookup = lookup_in(self.watched.committer.files.read, size)
        proof = consistency_proof(old, size, lookup) if old else ()
        return WitnessRequest(old, proof, note).to_bytes()

    async def post(self, body: bytes) -> httpx.Response:
        return await self.client.post("/add-checkpoint", content=body)

    def kept(self) -> list[bytes]:
        evidence = self.watched.watch("SG").cosigner.evidence
        kinds = ("log-refused", "log-inconsistent", "log-fork")
        return [raw for kind in kinds for raw in evidence.kept(kind)]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        watching(tmp_path / "w", Clock(), codes=("SG", "MY")) as watched,
        witnessing(LOCAL, watched.nodes["SG"]) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield Scene(watched, client)


def another(size: int) -> Checkpoint:
    tree = Frontier().append(leaf_hash(b"other %d" % at) for at in range(size))
    return Checkpoint(ORIGIN, size, tree.root())


async def test_what_extends_is_cosigned_and_shown_with_both_signatures(scene: Scene) -> None:
    watched = scene.watched
    await watched.grow(3)
    early = await scene.post(scene.request(0))
    assert early.status_code == 503  # it does not know yet what it cosigned before this start
    assert int(early.headers["retry-after"]) > 0
    unsure = await scene.client.get(NEWEST)
    assert (unsure.status_code, unsure.headers["retry-after"]) == (503, "1")
    await watched.rounds("SG")  # now it does, and cosigned three leaves over the link
    await watched.grow(4)
    first = await scene.post(scene.request(0))
    assert (first.status_code, first.content) == (409, b"3\n")
    assert first.headers["content-type"] == SIZE_TYPE
    done = await scene.post(scene.request(3))
    assert (done.status_code, done.headers["content-type"]) == (200, TEXT)
    line = parse_line(done.text.removesuffix("\n"))
    signed = watched.policy().verify_log(scene.note().signed_also((line,)).to_bytes())
    assert (signed.checkpoint.size, set(signed.cosigned)) == (7, {b"SG"})
    assert all(signed.cosigned.values())  # no time of zero
    shown = await scene.client.get(NEWEST)
    assert (shown.status_code, shown.headers["content-type"]) == (200, TEXT)
    newest = watched.policy().verify_log(shown.content)
    assert (newest.checkpoint, newest.cosigned) == (signed.checkpoint, signed.cosigned)
    for path in (f"/{sha256(b'other').hex()}/checkpoint", f"/{ORIGIN}/checkpoint", "/", "/x"):
        assert (await scene.client.get(path)).status_code == 404
    assert (await scene.client.get("/add-checkpoint")).status_code == 405
    again = await scene.post(scene.request(7))  # the same tree once more
    assert again.status_code == 200
    await watched.grow(1)
    await watched.rounds("SG")  # and the link goes on from there
    assert (await watched.watch("SG").shown()).cosigned_size == 8  # type: ignore[union-attr]


async def test_each_refusal_has_the_status_of_the_specification_and_says_what_nats_says(
    scene: Scene,
) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.steps("SG")
    stranger = Checkpoint("other.example", 3, bytes(32))
    unsigned = scene.request(3).replace(b"\n3\n", b"\n2\n", 1)
    lines = scene.note().signatures
    cases = {
        b"": 400,
        b"rubbish": 400,
        b"old 03\n\n" + scene.note().to_bytes(): 400,
        WitnessRequest(3, (), stranger.signed(lines)).to_bytes(): 404,
        unsigned: 403,
        WitnessRequest(4, (), scene.note()).to_bytes(): 400,
        WitnessRequest(2, (), scene.note()).to_bytes(): 409,
        WitnessRequest(3, (), KEYS.sign(another(3))).to_bytes(): 422,
        WitnessRequest(3, (bytes(32),), scene.note()).to_bytes(): 422,
        WitnessRequest(3, (), KEYS.sign(another(9))).to_bytes(): 422,
    }
    for body, status in cases.items():
        found = await scene.post(body)
        assert found.status_code == status, body[:80]
        assert found.headers["content-type"] == (SIZE_TYPE if status == 409 else TEXT)
        over_nats = await watched.watch("SG").cosigner.answer(body)
        assert over_nats == (HTTPStatus(status), found.content)
    assert (await scene.post(b"x" * (MAX_BODY_BYTES + 1))).status_code == 413


async def test_of_requests_at_once_over_both_ways_one_is_cosigned(scene: Scene) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.rounds("SG")
    bodies = []
    for count in (2, 4):
        await watched.grow(count)
        bodies.append(scene.request(3))
    cosigner = watched.watch("SG").cosigner

    async def over_http(body: bytes) -> int:
        return (await scene.post(body)).status_code

    async def over_nats(body: bytes) -> int:
        return (await cosigner.answer(body))[0].value

    asked = [each(body) for body in bodies * 3 for each in (over_http, over_nats)]
    statuses = await asyncio.gather(*asked)
    assert statuses.count(200) == 1
    assert set(statuses) == {200, 409}


async def test_a_stranger_can_raise_no_alarm_and_fill_no_disk_with_what_is_public(
    scene: Scene,
) -> None:
    watched = scene.watched
    await watched.grow(3)
    old = scene.note()
    await watched.steps()
    await watched.grow(3)
    await watched.steps()
    cut = old.signatures[:1]
    for note in (old, Note(old.text, cut), scene.note()):
        for number in range(5):
            for body in (
                WitnessRequest(number, (), note).to_bytes(),
                WitnessRequest(6, (bytes(32),) * number, note).to_bytes(),
                b"old 0%d\n\n" % number + note.to_bytes(),
            ):
                assert (await scene.post(body)).status_code in {200, 400, 403, 409, 422}
    assert scene.kept() == []
    await watched.grow(2)  # nobody has these leaves yet, so the copy clears nobody
    ahead = scene.note()
    for number in range(1, 6):
        body = WitnessRequest(6, (bytes(32),) * number, ahead).to_bytes()
        assert (await scene.post(body)).status_code == 422
    assert scene.kept() == []
    assert await watched.alarms("SG") == []
    await watched.steps()
    assert await watched.alarms("SG") == []


async def test_hundreds_of_checkpoints_of_a_log_that_grows_leave_nothing_and_hide_nothing(
    scene: Scene,
) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.steps()
    cosigner = watched.watch("SG").cosigner
    second = WitnessRequest(3, (), KEYS.sign(another(5))).to_bytes()
    assert (await cosigner.answer(second))[0].value == 422  # the log itself asks, of more leaves
    kept, told = scene.kept(), list(watched.cosigning.standings.reports)
    assert kept == [second]
    door = WitnessDoor(cosigner)  # behind the rate that strangers have over HTTP
    tree = Frontier().append(leaf_hash(each.raw) for each in entries(0, 3))
    for each in entries(3, 300):
        tree = tree.append((leaf_hash(each.raw),))
        note = KEYS.sign(Checkpoint(ORIGIN, tree.size, tree.root()))
        status, known = await door.add_checkpoint(WitnessRequest(0, (), note).to_bytes())
        assert (status, known) == (HTTPStatus.CONFLICT, b"3\n")
    assert scene.kept() == kept
    assert watched.cosigning.standings.reports == told
    assert await watched.alarms("SG") == ["log-inconsistent"]  # of the second tree alone
    await watched.grow(300)
    await watched.steps("SG")
    await watched.steps("SG")
    assert scene.kept() == [second, second]  # what the hub had asked was not pushed out meanwhile
    assert await watched.alarms("SG") == ["log-fork", "log-inconsistent"]
    assert watched.cosigning.standings.reports == [second]


async def test_what_only_ran_ahead_is_told_to_nobody(scene: Scene) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.steps()
    door = WitnessDoor(watched.watch("SG").cosigner)
    for _ in range(MAX_WAITING + 3):
        await watched.grow()
        assert (await door.add_checkpoint(scene.request(0)))[0] is HTTPStatus.CONFLICT
    for _ in range(2):
        await watched.steps()
    assert scene.kept() == []
    assert watched.cosigning.standings.reports == []
    for code in watched.nodes:
        assert await watched.alarms(code) == []


async def test_a_second_tree_ahead_of_the_copy_is_kept_and_told_once_the_copy_proves_it(
    scene: Scene,
) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.steps()
    whole = KEYS.sign(another(7))
    for lines in (whole.signatures[:1], whole.signatures, whole.signatures[1:]):
        body = WitnessRequest(0, (), Note(whole.text, lines)).to_bytes()
        assert (await scene.post(body)).status_code in {403, 409}
    await watched.steps("SG")
    assert (scene.kept(), await watched.alarms("SG")) == ([], [])
    await watched.grow(4)
    await watched.steps("SG")
    evidence = WitnessRequest(0, (), whole).to_bytes()  # that with most signatures
    assert scene.kept() == [evidence]
    assert await watched.alarms("SG") == ["log-fork"]
    await watched.steps("SG")
    assert watched.cosigning.standings.reports == [evidence]
    assert watched.cosigning.standings.wrong is not None  # and the log stops
    await watched.steps("MY")
    assert await watched.alarms("MY") == ["log-fork"]
    await watched.restart_log()
    await watched.steps("SG")  # the hub has forgotten, the witness has not
    assert watched.cosigning.standings.reports == [evidence]


async def test_a_second_tree_is_kept_told_and_alarmed_whoever_brings_it(scene: Scene) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.steps()
    forked = WitnessRequest(3, (), KEYS.sign(another(3))).to_bytes()
    assert (await scene.post(forked)).status_code == 422
    assert await watched.alarms("SG") == ["log-inconsistent"]
    smaller = WitnessRequest(1, (), KEYS.sign(another(2))).to_bytes()
    assert (await scene.post(smaller)).status_code == 409
    await watched.steps("SG")
    assert await watched.alarms("SG") == ["log-fork", "log-inconsistent"]
    await watched.steps("MY")
    assert await watched.alarms("MY") == ["log-fork"]
    assert watched.cosigning.standings.wrong is not None  # and the log stops


async def unsure_of_newest(scene: Scene) -> bool:
    """Whether the node shows no note that it may have gone beyond."""
    found = await scene.client.get(NEWEST)
    kept = found.headers["cache-control"]
    return (found.status_code, kept, ORIGIN in found.text) == (503, "no-store", False)


async def test_a_node_shows_nothing_of_an_earlier_start_until_the_hub_told_it_more(
    scene: Scene,
) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.rounds("SG")
    shown = await scene.client.get(NEWEST)
    assert shown.status_code == 200
    again = replace(watched.watch("SG").cosigner, _sure=False)  # as each start of the node has it
    async with (
        serving(witness_app(WitnessDoor(again)), plain=LOCAL) as served,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as client,
    ):
        assert await unsure_of_newest(replace(scene, client=client))
        await again.round()
        assert (await client.get(NEWEST)).content == shown.content


async def test_who_lost_its_memory_or_is_no_witness_cosigns_for_nobody(scene: Scene) -> None:
    watched = scene.watched
    await watched.grow(3)
    await watched.rounds("SG")
    assert (await scene.client.get(NEWEST)).status_code == 200
    await watched.grow(1)
    cosigner = watched.watch("SG").cosigner
    await cosigner._say_restored(int(watched.nodes["SG"].present.now().timestamp()))
    assert (await scene.post(scene.request(3))).status_code == 503
    assert await unsure_of_newest(scene)
    cosigner.present.member = "LA"
    assert (await scene.post(scene.request(3))).status_code == 404
    assert (await scene.client.get(NEWEST)).status_code == 404


class Broken(WitnessDoor):
    """A node whose database is away."""

    @override
    async def checkpoint(self, origin_hash: str) -> tuple[HTTPStatus, bytes]:
        raise StoreError("database-away", origin_hash, retry="later")


@asynccontextmanager
async def door(watched: Watched, limits: Limits) -> AsyncIterator[tuple[str, int]]:
    app = witness_app(Broken(watched.watch("SG").cosigner), limits)
    async with serving(app, plain=LOCAL) as served:
        yield "127.0.0.1", served.port


async def test_strangers_have_one_rate_and_few_bodies_at_a_time(
    scene: Scene,
) -> None:
    watched = scene.watched
    burst = 2 * READ_AT_ONCE
    async with (
        door(watched, Limits(failures_per_s=0.01, burst=burst)) as (host, port),
        httpx.AsyncClient(base_url=f"http://{host}:{port}") as client,
    ):
        busy = await client.get(NEWEST)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        held = [await asyncio.open_connection(host, port) for _ in range(READ_AT_ONCE)]
        for _, writer in held:  # each announces a body and sends none
            writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
            writer.write(b"Expect: 100-continue\r\n\r\n")
        for reader, _ in held:
            await reader.readuntil(b"100 Continue\r\n\r\n")  # it waits for the body
        refused = await client.post("/add-checkpoint", content=b"old 0\n")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        for _, writer in held:
            writer.write(b"rubbish!\n")
        for reader, writer in held:
            assert b" 400 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
        left = burst - READ_AT_ONCE - 2
        for _ in range(left):
            assert (await client.post("/add-checkpoint", content=b"old 0\n")).status_code == 400
        for answer in (await client.post("/add-checkpoint"), await client.get(NEWEST)):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 1


async def test_with_a_certificate_it_speaks_tls_and_monitoring_watches_it(
    scene: Scene, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    config = NodeConfig(
        member="SG",
        hub_url="",
        witness_port=8443,
        witness_certificate=str(chain),
        witness_key=str(key),
    )
    port = _witness_port(config)
    assert isinstance(port, TLSPort)
    assert (port.host, port.port) == ("127.0.0.1", 8443)
    assert NodePlace(tmp_path).certificates(config)["witness"] == chain
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        witnessing(replace(port, port=0), scene.watched.nodes["SG"]) as number,
        httpx.AsyncClient(base_url=f"https://localhost:{number}", verify=context) as client,
    ):
        assert (await client.post("/add-checkpoint", content=b"")).status_code == 400
        with pytest.raises(httpx.TransportError):
            await scene.client.get(f"http://localhost:{number}{NEWEST}")


async def test_a_node_has_no_such_port_unless_it_is_told(scene: Scene) -> None:
    assert NodeConfig(member="SG", hub_url="").witness_port == 0
    async with witnessing(None, scene.watched.nodes["SG"]) as port:
        assert port == 0
