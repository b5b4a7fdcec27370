"""Attacks of a real member on the others, with its own credentials, against the real server.

The attacker is a raw nats-py client of SG. It comes twice: confined, with the user its node has,
and unconfined, since a member signs the JWTs of its own users and may leave out every permission.
Each attack must leave every stream and consumer of the others as it was, and the legitimate path
must work before and after: an attack on a hub that is down proves nothing.
"""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NATSError

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.hub.attachments import AttachmentService
from broker.hub.chunkstore import Head
from broker.transport import accounts
from broker.transport.attaching import Attaching
from broker.transport.credentials import Credentials
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.message import Message
from keys.primitives.signing import SignKey
from schemas import canonical
from tests.support.attachments import serving_attachments
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]

YEAR = clock.now().year
AUDIT = f"AUDIT_{YEAR}"
NEXT = "$JS.API.CONSUMER.MSG.NEXT"
OWN = frozenset({"SUBMIT_SG"})  # what an attacker may change by submitting


class Scene(NamedTuple):
    """A hub at work: mail waits for both, one message is in MY's hands, a decision stands."""

    hub: RunningHub
    link: Link
    victim: Link
    in_hand: Message
    attachments: AttachmentService


class Attack(NamedTuple):
    """One publish; `reply` is where the attacker lets the answer go."""

    subject: str
    payload: bytes = b""
    reply: str = ""


EVIL_CONSUMER = json.dumps(
    {
        "stream_name": "INBOX_SG_normal",
        "config": {
            "durable_name": "evil",
            "deliver_subject": "deliver.MY.normal.evil",
            "ack_policy": "none",
        },
    }
).encode()
SPY_CONSUMER = json.dumps(
    {"stream_name": "INBOX_MY_normal", "config": {"durable_name": "spy", "ack_policy": "explicit"}}
).encode()
SPY_STREAM = json.dumps({"name": "SPY", "subjects": ["spy.>"], "sources": [{"name": AUDIT}]})
ONE = json.dumps({"batch": 1, "no_wait": True}).encode()
DELETED = json.dumps({"seq": 1}).encode()

IDENT = UUID("019ab000-0000-7000-8000-000000000001")  # MY sent files with it to TH
CHUNK = bytes([7]) * SEALED_CHUNK_BYTES
PUT = canonical.encode({"id": IDENT.bytes, "number": 0, "chunk": 1, "data": CHUNK})
GET = canonical.encode({"sender": "MY", "id": IDENT.bytes, "number": 0, "chunk": 0})
DONE = canonical.encode({"sender": "MY", "id": IDENT.bytes})
OPEN = canonical.encode({"id": IDENT.bytes, "counts": [2], "expires": 2**42})
ROOM = canonical.encode({})
# All that is asked about files.
FILES = {"open": OPEN, "put": PUT, "get": GET, "done": DONE, "room": ROOM}

ATTACKS = {
    "publish-into-anothers-inbox": Attack("deliver.MY.normal.x", b"forged"),
    "publish-into-anothers-submissions": Attack("submit.MY.normal.x", b"forged"),
    "publish-a-decision": Attack(f"audit.{YEAR}.SG.x", b"forged"),
    "publish-a-receipt": Attack("receipt.MY.x", b"forged"),
    "publish-into-what-is-held": Attack("held.MY.SG.normal.x", b"forged"),
    "ack-into-anothers-inbox": Attack("submit.SG.normal.1", b"x", "deliver.MY.normal.x"),
    "ack-into-the-audit-stream": Attack("submit.SG.normal.2", b"x", f"audit.{YEAR}.SG.x"),
    "ack-into-anothers-submissions": Attack("submit.SG.normal.3", b"x", "submit.MY.normal.x"),
    "own-mail-into-anothers-inbox": Attack(
        f"{NEXT}.INBOX_SG_normal.normal", ONE, "deliver.MY.normal.x"
    ),
    "own-mail-into-the-audit-stream": Attack(
        f"{NEXT}.INBOX_SG_normal.normal", ONE, f"audit.{YEAR}.x"
    ),
    "purge-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "delete-stream-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.STREAM.DELETE.INBOX_MY_normal"
    ),
    "delete-audit-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, f"$JS.API.STREAM.DELETE.{AUDIT}"
    ),
    "delete-consumer-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"
    ),
    "purge-by-ack": Attack("submit.SG.normal.4", b"{}", "$JS.API.STREAM.PURGE.INBOX_MY_normal"),
    "service-answer-into-an-inbox": Attack("hub.SG.time", b"", "deliver.MY.normal.x"),
    "service-answer-as-an-order": Attack(
        "hub.SG.time", b"", "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "chunk-for-another": Attack("hub.MY.att.put", PUT),
    "chunk-under-anothers-id": Attack("hub.SG.att.put", PUT),
    "chunk-of-another": Attack("hub.SG.att.get", GET),
    "chunk-as-its-recipient": Attack("hub.TH.att.get", GET),
    "chunks-opened-for-another": Attack("hub.MY.att.open", OPEN),
    "chunks-opened-under-anothers-id": Attack("hub.SG.att.open", OPEN),
    "chunks-taken-from-another": Attack("hub.SG.att.done", DONE),
    "chunks-taken-as-their-recipient": Attack("hub.TH.att.done", DONE),
    "chunks-by-a-wildcard": Attack("hub.*.att.get", GET),
    "chunks-of-no-member": Attack("hub.att.get", GET),
    "chunk-answer-into-an-inbox": Attack("hub.SG.att.get", GET, "deliver.MY.normal.x"),
    "chunk-answer-into-submissions": Attack("hub.SG.att.put", PUT, "submit.MY.normal.x"),
    "chunk-answer-into-the-audit-stream": Attack("hub.SG.att.open", OPEN, f"audit.{YEAR}.SG.y"),
    "chunk-answer-into-receipts": Attack("hub.SG.att.done", DONE, "receipt.MY.x"),
    "chunk-answer-to-anothers-question": Attack("hub.SG.att.get", GET, "_INBOX_MY.x"),
    "chunk-answer-as-anothers-chunk": Attack("hub.SG.att.get", GET, "hub.MY.att.put"),
    "chunk-answer-as-an-order": Attack(
        "hub.SG.att.put", PUT, "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "chunk-answer-deletes-a-consumer": Attack(
        "hub.SG.att.get", GET, "$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"
    ),
    "chunks-in-an-object-store": Attack("$O.attachments.C.x", b"x"),
    "make-an-object-store": Attack("$JS.API.STREAM.CREATE.OBJ_x", SPY_STREAM.encode()),
    "purge": Attack("$JS.API.STREAM.PURGE.INBOX_MY_normal"),
    "purge-own": Attack("$JS.API.STREAM.PURGE.INBOX_SG_normal"),
    "delete-stream": Attack("$JS.API.STREAM.DELETE.INBOX_MY_normal"),
    "delete-message": Attack(f"$JS.API.STREAM.MSG.DELETE.{AUDIT}", DELETED),
    "create-stream": Attack("$JS.API.STREAM.CREATE.SPY", SPY_STREAM.encode()),
    "create-consumer": Attack("$JS.API.CONSUMER.DURABLE.CREATE.INBOX_MY_normal.spy", SPY_CONSUMER),
    "create-named-consumer": Attack("$JS.API.CONSUMER.CREATE.INBOX_MY_normal.spy", SPY_CONSUMER),
    "create-own-consumer-with-foreign-subject": Attack(
        "$JS.API.CONSUMER.DURABLE.CREATE.INBOX_SG_normal.evil", EVIL_CONSUMER
    ),
    "delete-consumer": Attack("$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"),
    "pause-consumer": Attack(
        "$JS.API.CONSUMER.PAUSE.INBOX_MY_normal.normal", b'{"pause_until":"2099-01-01T00:00:00Z"}'
    ),
    "pull-anothers-mail": Attack(f"{NEXT}.INBOX_MY_normal.normal", ONE),
    "pull-anothers-receipts": Attack(f"{NEXT}.RECEIPT_MY.MY", ONE),
    "pull-the-gateways-work": Attack(f"{NEXT}.SUBMIT_MY.GATEWAY-normal", ONE),
    "pull-own-submissions-back": Attack(f"{NEXT}.SUBMIT_SG.GATEWAY-normal", ONE),
    "pull-with-anothers-receipt-lane": Attack(f"{NEXT}.RECEIPT_SG.MY", ONE),
    "remove-the-hubs-account": Attack("$SYS.REQ.CLAIMS.DELETE", b"x"),
    "stop-the-server": Attack("$SYS.REQ.SERVER.RELOAD"),
}
REPLIES = sorted({attack.reply for attack in ATTACKS.values() if attack.reply})
ATTACKS |= {
    f"{verb}-answered-to-{reply}": Attack(f"hub.SG.att.{verb}", body, reply)
    for verb, body in FILES.items()
    for reply in REPLIES
}
"""Every answer of the file service, let go to wherever an attack lets any answer go."""
ATTACKS |= {
    f"{verb}-at-{place}": Attack(f"{place}.{verb}{more}", body)
    for verb, body in FILES.items()
    for place, more in (
        ("hub.MY.att", ""),
        ("hub.TH.att", ""),
        ("hub.*.att", ""),
        ("hub.MY.*", ""),
        ("hub.SG.att", ".MY"),
        ("hub.SG.att.MY", ""),
        ("hub.SG.MY.att", ""),
        ("hub.sg.att", ""),
    )
}
"""Every question about files, asked as another or in a form that might be taken for another's."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("isolation") / "hub"
    region = make_region(("SG", "MY", "TH"))
    async with (
        running_hub(region, folder) as hub,
        hub.hub_link() as link,
        hub.member_link("MY") as victim,
        serving_attachments(hub, folder / "chunks") as attachments,
    ):
        await link.wait_connected(BOUND_S)
        await victim.wait_connected(BOUND_S)

        async def tell(subject: str, _: bytes) -> bytes:
            return subject.encode()

        for code in ("SG", "MY"):
            for service in ("time", "settled"):
                await link.serve(f"hub.{code}.{service}", tell)
            for number in range(2):
                subject = f"deliver.{code}.normal.{number}"
                await link.publish_acked(subject, b"sealed mail", msg_id=subject)
        await link.publish_acked("receipt.MY.1", b"a receipt", msg_id="receipt")
        await link.publish_acked(f"audit.{YEAR}.MY.1", b"a decision", msg_id="decision")
        in_hand = (await victim.pull("INBOX_MY_normal", "normal", batch=1, timeout_s=5))[0]
        promised = Head(("TH",), (2,), clock.now() + timedelta(days=1))
        await attachments.store.open("MY", IDENT, promised, ["SG", "TH"], patient=True)
        await attachments.store.keep("MY", IDENT, 0, 0, CHUNK)
        yield Scene(hub, link, victim, in_hand, attachments)


@asynccontextmanager
async def attacker(given: Credentials) -> AsyncIterator[Client]:
    async def unheard(_: Exception) -> None:
        """Refusals of the server are what is expected."""

    client = Client()
    try:
        await client.connect(
            list(given.urls),
            user_jwt_cb=lambda: bytearray(given.jwt.encode()),
            signature_cb=lambda nonce: base64.b64encode(given.key.sign(nonce.encode())),
            tls=ssl.create_default_context(cadata=given.ca_pem),
            inbox_prefix=given.inbox_prefix.encode(),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=unheard,
        )
        yield client
    finally:
        await client.close()


async def observed(link: Link) -> dict[str, Any]:
    """Return what can be seen of every stream and consumer that SG must not be able to change."""
    seen: dict[str, Any] = {}
    for stream in (await link.api("STREAM.LIST", {}))["streams"]:
        name, state = stream["config"]["name"], stream["state"]
        seen[name] = [stream["config"], stream["created"]]
        if name not in OWN:
            seen[name] += [state[part] for part in ("messages", "bytes", "first_seq", "last_seq")]
        for consumer in (await link.api(f"CONSUMER.LIST.{name}", {}))["consumers"]:
            key = f"{name}/{consumer['name']}"
            seen[key] = [consumer["config"], consumer["created"], consumer.get("paused", False)]
            if not name.endswith("_SG"):
                counters = ("delivered", "ack_floor", "num_ack_pending", "num_pending")
                seen[key] += [_without_times(consumer[part]) for part in counters]
    return seen


def _without_times(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if name != "last_active"}
    return value


def chunks_of(scene: Scene) -> dict[str, bytes]:
    """Return all that the hub keeps of attached files."""
    folder = scene.attachments.store.files.folder
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def settled(scene: Scene, client: Client) -> None:
    """Return once the server has done all that the attacker sent."""
    await client.flush()
    await scene.victim.request("hub.MY.settled", b"")
    await client.flush()


async def check_legitimate_path(scene: Scene) -> None:
    """Return if SG and MY can do what they may: the hub was up, and the attacker's key good."""
    async with scene.hub.member_link("SG") as link:
        await link.wait_connected(BOUND_S)
        ident = f"{clock.now().timestamp()}".replace(".", "-")
        stored = await link.publish_acked(f"submit.SG.control.{ident}", b"x", msg_id=ident)
        assert stored.stream == "SUBMIT_SG"
        assert await link.request("hub.SG.time", b"") == b"hub.SG.time"
        assert b"error" in await link.request("hub.SG.att.get", GET)  # answered, and nothing given
    assert await scene.victim.request("hub.MY.time", b"") == b"hub.MY.time"


@pytest.mark.parametrize("confined", [True, False], ids=["as-the-node", "as-any-user"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_nothing_of_another_member_or_the_hub_changes(
    scene: Scene, name: str, *, confined: bool
) -> None:
    attack = ATTACKS[name]
    before, kept = await observed(scene.link), chunks_of(scene)
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=hear)
        await client.publish(attack.subject, attack.payload, reply=attack.reply or inbox)
        await settled(scene, client)
    assert await observed(scene.link) == before
    assert chunks_of(scene) == kept
    for message in heard:  # only a refusal may come back
        assert CHUNK[:64] not in message.data
        assert b"sealed mail" not in message.data
        assert b"receipt" not in message.data
    await check_legitimate_path(scene)


async def test_the_watch_sees_what_an_attack_would_do(scene: Scene) -> None:
    """The control of all these tests: the same publishes by the hub's own user do change it."""
    before = await observed(scene.link)
    await scene.link.publish_acked("deliver.MY.exercise.x", b"", msg_id="watched")
    changed = await observed(scene.link)
    assert {name for name in changed if changed[name] != before[name]} == {
        "INBOX_MY_exercise",
        "INBOX_MY_exercise/exercise",
    }


async def test_the_attacks_try_all_that_is_asked_about_files() -> None:
    assert set(FILES) == {str(what) for what in Attaching}


async def test_the_watch_sees_what_an_attack_on_files_would_do(scene: Scene) -> None:
    """Whom the files are for is given them; and their sender may hand in, as MY does here."""
    before = chunks_of(scene)
    async with scene.hub.member_link("TH") as link:
        await link.wait_connected(BOUND_S)
        assert CHUNK in await link.request("hub.TH.att.get", GET)
    assert b"kept" in await scene.victim.request("hub.MY.att.put", PUT)
    after = chunks_of(scene)
    assert len(after) == len(before) + 1
    scene.attachments.store.files.drop(f"MY/{IDENT}", 0, 1)
    assert chunks_of(scene) == before


@pytest.mark.parametrize("order", [b"+ACK", b"+TERM", b"-NAK", b"+NXT"])
@pytest.mark.parametrize("confined", [True, False], ids=["as-the-node", "as-any-user"])
async def test_an_acknowledgement_cannot_be_forged(
    scene: Scene, order: bytes, *, confined: bool
) -> None:
    before = await observed(scene.link)
    assert before["INBOX_MY_normal/normal"][-2] == 1  # in MY's hands, not acknowledged
    async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
        await client.publish(scene.in_hand._reply, order, reply="deliver.MY.normal.x")
        await client.publish("submit.SG.normal.5", order, reply=scene.in_hand._reply)
        await settled(scene, client)
    assert await observed(scene.link) == before


async def test_a_member_hears_nothing_of_the_others(scene: Scene) -> None:
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    given = scene.hub.member_credentials("SG", confined=False)
    async with attacker(given) as client:
        for subject in (
            ">",
            "hub.MY.att.>",
            "hub.*.att.>",
            "hub.TH.>",
            "_INBOX.>",
            "_INBOX_MY.>",
            "_R_.>",
            "$JS.>",
            "deliver.>",
            "$SYS.>",
        ):
            await client.subscribe(subject, cb=hear)
        await client.flush()
        await scene.victim.publish_acked("submit.MY.control.1", b"x", msg_id="heard")
        await scene.link.publish_acked("deliver.MY.control.1", b"x", msg_id="heard")
        pulled = await scene.victim.pull("INBOX_MY_control", "control", batch=1, timeout_s=5)
        await pulled[0].ack()
        await scene.victim.request("hub.MY.time", b"")
        await scene.victim.request("hub.MY.att.get", GET)
        await client.publish("own", b"")  # the positive control: it does hear its own account
        await settled(scene, client)
    assert set(heard) == {"own"}


async def test_anothers_services_do_not_answer(scene: Scene) -> None:
    for confined in (True, False):
        async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
            for service in ("time", "att.open", "att.put", "att.get", "att.done"):
                with pytest.raises((NATSError, asyncio.TimeoutError)):
                    await client.request(f"hub.MY.{service}", b"", timeout=0.5)
    await check_legitimate_path(scene)


async def test_headers_give_no_command_and_huge_ones_are_refused(scene: Scene) -> None:
    async with attacker(scene.hub.member_credentials("SG")) as client:
        first = await _submit(client, "1", {})
        assert "seq" in first
        refused = [
            await _submit(client, "1", {"Nats-Rollup": "all"}),
            await _submit(client, "1", {"Nats-Rollup": "sub"}),
            await _submit(client, "2", {"Nats-TTL": "1s"}),
            await _submit(client, "3", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}),
            await _submit(client, "4", {"X": "y" * 700 * 1024}),
            await _submit(client, "5", {"Nats-Msg-Id": "y" * 700 * 1024}),
        ]
        assert all("error" in answer for answer in refused)
        scheduled = {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": "deliver.MY.normal.x"}
        before = await observed(scene.link)
        assert "error" in await _submit(client, "6", scheduled)
    assert await observed(scene.link) == before
    found = await scene.link.get_last("SUBMIT_SG", "submit.SG.exercise.1")
    assert found is not None
    assert found.seq == first["seq"]


@pytest.mark.parametrize("verb", FILES)
@pytest.mark.parametrize("confined", [True, False], ids=["as-the-node", "as-any-user"])
async def test_headers_give_the_file_service_no_command(
    scene: Scene, verb: str, *, confined: bool
) -> None:
    before, kept = await observed(scene.link), chunks_of(scene)
    headers = {
        "Nats-Rollup": "all",
        "Nats-Msg-Id": "receipt",
        "Nats-Expected-Stream": "INBOX_MY_normal",
        "Nats-Schedule-Target": "deliver.MY.normal.x",
        "Nats-Schedule": "@every 1s",
        "Nats-Request-Info": '{"acc":"MY"}',  # what a server says of who asks; nobody reads it
    }
    async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
        subject = f"hub.SG.att.{verb}"
        answer = await client.request(subject, FILES[verb], headers=headers, timeout=BOUND_S)
        assert (b"error" in answer.data) == (verb != "room")  # which is about nobody's files
        assert not answer.headers
    assert await observed(scene.link) == before
    assert chunks_of(scene) == kept
    await check_legitimate_path(scene)


@pytest.mark.parametrize("confined", [True, False], ids=["as-the-node", "as-any-user"])
async def test_nobody_answers_anothers_questions_about_files(
    scene: Scene, *, confined: bool
) -> None:
    """Neither beside the hub nor in its stead: a queue would take the hub's share."""
    taken: list[str] = []

    async def lie(message: Msg) -> None:
        taken.append(message.subject)
        await message.respond(canonical.encode({"data": b"forged"}))

    async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
        for subject in ("hub.MY.att.>", "hub.*.att.*", "hub.TH.att.get", "hub.>"):
            await client.subscribe(subject, cb=lie)
            await client.subscribe(subject, queue="hub", cb=lie)
        await client.flush()
        async with scene.hub.member_link("TH") as link:
            await link.wait_connected(BOUND_S)
            for _ in range(8):
                assert CHUNK in await link.request("hub.TH.att.get", GET)
                assert b"error" in await scene.victim.request("hub.MY.att.get", GET)
        await settled(scene, client)
    assert not [subject for subject in taken if not subject.startswith("hub.SG.")]


async def _submit(client: Client, ident: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = await client.request(
        f"submit.SG.exercise.{ident}", b"x", headers=headers, timeout=BOUND_S
    )
    found: dict[str, Any] = json.loads(answer.data)
    return found


@pytest.mark.parametrize("subject", ["submit.SG.normal.6", "hub.SG.att.put"])
async def test_too_much_for_the_server_costs_the_attacker_only_its_connection(
    scene: Scene, subject: str
) -> None:
    kept = chunks_of(scene)
    async with attacker(scene.hub.member_credentials("SG")) as client:
        client._max_payload = 8 * 1024 * 1024  # an attacker's client does not stop itself
        await client.publish(subject, bytes(2 * 1024 * 1024))
        with pytest.raises((NATSError, asyncio.TimeoutError, OSError)):
            await client.flush(timeout=1)
    assert chunks_of(scene) == kept
    await check_legitimate_path(scene)


@pytest.mark.parametrize("forger", ["own-account", "made-up-account"])
async def test_a_user_of_another_account_cannot_be_forged(scene: Scene, forger: str) -> None:
    sender, victim = scene.hub.region.members["SG"], scene.hub.region.members["MY"]
    account = sender.nats_account if forger == "own-account" else SignKey.generate()
    genuine = accounts.user_jwt(account, sender.nats_user.public.raw, "MY", now=clock.now())
    body = json.loads(_decoded(genuine.split(".")[1]))
    body["iss"] = accounts.public_nkey("account", victim.nats_account.public.raw)
    forged = _signed(body, account) if forger == "own-account" else genuine
    given = scene.hub.member_credentials("SG")
    with pytest.raises(NATSError):
        async with attacker(
            Credentials(given.urls, given.ca_pem, forged, given.key, given.inbox_prefix, "forged")
        ):
            pass
    await check_legitimate_path(scene)


async def test_a_jwt_without_its_key_lets_nobody_in(scene: Scene) -> None:
    stolen = scene.hub.member_credentials("MY")
    with pytest.raises(NATSError):
        async with attacker(
            Credentials(
                stolen.urls,
                stolen.ca_pem,
                stolen.jwt,
                SignKey.generate(),
                stolen.inbox_prefix,
                "thief",
            )
        ):
            pass


@pytest.mark.parametrize("token", ["none", "anothers", "self-signed"])
async def test_an_import_needs_the_hubs_activation_for_this_account(
    scene: Scene, token: str
) -> None:
    """Even an account JWT under the operator's own signature gets no more than the hub exports."""
    hub, sender = scene.hub, scene.hub.region.members["SG"]
    genuine = accounts.member_account_jwt(
        hub.keys, "SG", sender.nats_account.public.raw, now=clock.now()
    )
    other = accounts.member_account_jwt(
        hub.keys, "MY", hub.region.members["MY"].nats_account.public.raw, now=clock.now()
    )
    body = json.loads(_decoded(genuine.split(".")[1]))
    stolen = json.loads(_decoded(other.split(".")[1]))["nats"]["imports"]
    for wanted in stolen:
        match token:
            case "none":
                del wanted["token"]
            case "self-signed":
                activation = json.loads(_decoded(wanted["token"].split(".")[1]))
                activation["sub"] = body["sub"]
                wanted["token"] = _signed(activation, sender.nats_account)
            case _:
                pass
    body["nats"]["imports"] += stolen
    body["nats"]["limits"]["imports"] = -1
    before, kept = await observed(scene.link), chunks_of(scene)
    async with Link(hub.system_credentials()) as system:
        await system.wait_connected(BOUND_S)
        pushed = _signed(body, hub.keys.operator)
        await system.request("$SYS.REQ.CLAIMS.UPDATE", pushed.encode())
    async with attacker(hub.member_credentials("SG", confined=False)) as client:
        for subject in (
            f"{NEXT}.INBOX_MY_normal.normal",
            f"{NEXT}.RECEIPT_MY.MY",
            "submit.MY.normal.1",
            "hub.MY.time",
            *(f"hub.MY.att.{verb}" for verb in FILES),
        ):
            asked = FILES.get(subject.rpartition(".")[2], ONE)
            with pytest.raises((NATSError, asyncio.TimeoutError)):
                await client.request(subject, asked, timeout=0.3)
        await settled(scene, client)
    assert await observed(scene.link) == before
    assert chunks_of(scene) == kept
    await hub.enrol("SG")
    await check_legitimate_path(scene)


async def test_a_member_cannot_push_accounts(scene: Scene) -> None:
    hub, sender = scene.hub, scene.hub.region.members["SG"]
    wide = accounts.member_account_jwt(
        hub.keys, "MY", sender.nats_account.public.raw, now=clock.now()
    )
    async with attacker(hub.member_credentials("SG", confined=False)) as client:
        for subject in ("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.PING"):
            with pytest.raises((NATSError, asyncio.TimeoutError)):
                await client.request(subject, wide.encode(), timeout=0.3)
    await check_legitimate_path(scene)


async def test_a_flood_of_connections_hurts_only_the_attacker(scene: Scene) -> None:
    given = scene.hub.member_credentials("SG")
    alive = 0
    async with AsyncExitStack() as opened:
        for _ in range(3 * accounts.MAX_CONNECTIONS):
            with contextlib.suppress(NATSError, OSError, asyncio.TimeoutError):
                client = await opened.enter_async_context(attacker(given))
                await client.flush(timeout=BOUND_S)
                alive += 1
        assert 0 < alive <= accounts.MAX_CONNECTIONS
        assert await scene.victim.request("hub.MY.time", b"") == b"hub.MY.time"


async def test_the_wrong_authority_is_not_believed(scene: Scene) -> None:
    """The other side of isolation: a member does not talk to a server that is not the hub."""
    given = scene.hub.member_credentials("SG")
    elsewhere = make_region(("SG",)).view.hub.tls_ca_pem
    link = Link(Credentials(given.urls, elsewhere, given.jwt, given.key, given.inbox_prefix, "SG"))
    async with link:
        with pytest.raises(Unreachable):
            await link.wait_connected(0.5)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signed(body: dict[str, Any], key: SignKey) -> str:
    header = accounts._b64(accounts._json({"typ": "JWT", "alg": "ed25519-nkey"}))
    signed = f"{header}.{accounts._b64(accounts._json(body))}"
    return f"{signed}.{accounts._b64(key.sign(signed.encode()))}"
