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
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NATSError

from broker import clock
from broker.transport import accounts
from broker.transport.attaching import Attaching
from broker.transport.credentials import Credentials
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from schemas import canonical
from tests.support.attacks import ATTACKS, CHUNK, FILES, GET, NEXT, ONE
from tests.support.hub import BOUND_S
from tests.support.isolation import (
    LISTENED,
    Scene,
    attacker,
    check_legitimate_path,
    chunks_of,
    is_refusal,
    isolated,
    observed,
    settled,
)
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]

RIGHTFUL = {
    "open": ("MY",),
    "put": ("MY",),
    "get": ("TH",),
    "done": ("TH",),
    "room": ("SG", "MY", "TH"),  # each is told its own
}
CHANGES = ("open", "put", "done")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with isolated(tmp_path_factory.mktemp("isolation") / "hub") as made:
        yield made


@pytest.mark.parametrize("confined", [True, False], ids=["as-the-node", "as-any-user"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_nothing_of_another_member_or_the_hub_changes(
    scene: Scene, name: str, *, confined: bool
) -> None:
    attack = ATTACKS[name]
    before, kept = await observed(scene.link), chunks_of(scene)
    await scene.heard()
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
    assert await scene.heard() == set()
    assert [message for message in heard if not is_refusal(message)] == []
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


@pytest.mark.parametrize("verb", FILES)
async def test_what_is_asked_about_files_is_given_to_whom_it_is_for_and_refused_to_all_others(
    scene: Scene, verb: str
) -> None:
    """The control of all that is tried against files: the same bytes, asked by the right one."""
    before = chunks_of(scene)
    for code in ("SG", "MY", "TH"):
        if code not in RIGHTFUL[verb]:
            assert is_refusal(await answered(scene, code, verb))
            assert chunks_of(scene) == before
    for code in RIGHTFUL[verb]:
        assert not is_refusal(await answered(scene, code, verb))
    assert (chunks_of(scene) != before) == (verb in CHANGES)
    await scene.lay_out()
    assert chunks_of(scene) == before


async def answered(scene: Scene, code: str, verb: str) -> Msg:
    """The hub's answer to a member that asks in its own name."""
    async with attacker(scene.hub.member_credentials(code)) as client:
        return await client.request(f"hub.{code}.att.{verb}", FILES[verb], timeout=BOUND_S)


async def test_who_listens_would_hear_an_answer_that_went_astray(scene: Scene) -> None:
    """The other control: whoever is in an account reaches all that is listened to there."""
    await scene.heard()
    async with attacker(scene.hub.member_credentials("MY", confined=False)) as client:
        await client.publish("hub.MY.att.get", GET, reply="_INBOX_MY.x")
        await client.flush()
        await scene.victim.request("hub.MY.att.settled", b"")
        asked = {("HUB", "hub.MY.att.get"), ("MY", "hub.MY.att.get")}
        assert await scene.heard() == {*asked, ("MY", "_INBOX_MY.x")}
        for subject in LISTENED:
            await client.publish(subject, b"x")
        await client.flush()
        assert {each for each in await scene.heard() if each[0] == "MY"} == {
            ("MY", subject) for subject in LISTENED
        }
    harmless = [each for each in LISTENED if "PURGE" not in each]  # which any bytes would do
    async with attacker(scene.hub.hub_credentials()) as client:
        for subject in harmless:
            await client.publish(subject, b"x")
        await client.flush()
    assert await scene.heard() == {("HUB", subject) for subject in harmless}


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
    assert {each for each in heard if not each.startswith(("hub.SG.", "_INBOX_SG."))} == {"own"}


async def test_anothers_services_do_not_answer(scene: Scene) -> None:
    for confined in (True, False):
        async with attacker(scene.hub.member_credentials("SG", confined=confined)) as client:
            for service, asked in {
                "time": b"",
                **{f"att.{verb}": body for verb, body in FILES.items()},
            }.items():
                with pytest.raises((NATSError, asyncio.TimeoutError)):
                    await client.request(f"hub.MY.{service}", asked, timeout=0.5)
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
