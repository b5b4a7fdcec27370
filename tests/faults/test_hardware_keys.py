"""Node, ministry and gateway sign with keys of hardware tokens: enrolled, used, taken out.

Real SoftHSM tokens, real processes, ceremonies by command alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion, found, policies
from broker.cli.demo.story import desks
from broker.client import Client
from broker.hub.place import DECISIONS, GATEWAY_STORE
from broker.node.alarms import UNUSABLE
from keys.directory.source import PublishedDirectory
from keys.home import Home
from keys.identity import STORE_NAME
from keys.keystore import KeyStore
from schemas.desk import SubmissionState
from tests.support.commands import Machine
from tests.support.processes import warning
from tests.support.tokens import PIN, SoftTokens, needs_softhsm
from tests.support.waiting import must_come

pytestmark = [needs_softhsm, pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(480)]
BOUND_S = 90.0


@dataclass
class Scene:
    """SG and the hub, each with a token of its own; MY without."""

    region: DemoRegion
    processes: Processes
    sg: Machine
    hub: Machine
    sg_tokens: SoftTokens
    hub_tokens: SoftTokens
    desks: dict[str, Client]

    async def arrives(self, number: int) -> None:
        """SG sends one alert, and MY has it."""
        sent = await self.desks["SG"].send(warning(number, ("MY",)))
        await sent.wait("delivered", timeout_s=BOUND_S)


def enrol(region: DemoRegion, sg: Machine, hub: Machine) -> None:
    """Put SG's and the gateway's signing keys into tokens, and destroy those in files."""
    out = region.folder / "out"
    out.mkdir()
    sg_uri, hub_uri = SoftTokens.uri("sg-card", "sign-1"), SoftTokens.uri("hub-hsm", "decide-1")
    old = json.loads(sg.good("keys", "list", "--json"))["keys"]
    sg.good("keys", "make", sg_uri)
    signing = str(out / "signing.json")
    sg.good("keys", "rotate", "--signing", "--pkcs11", sg_uri, "--out", signing)
    hub.good("directory", "publish", signing)
    sg.good("keys", "destroy", next(key["kid"] for key in old if key["use"] == "sign"))
    hub.good("keys", "make", hub_uri)
    gateway = str(out / "gateway.json")
    hub.good("hub", "rekey", "--gateway", "--pkcs11", hub_uri, "--out", gateway)
    for code in ("SG", "MY", "VN"):
        home = region.home(code)
        signer = Machine(home, region.passphrase_file)
        signer.good("directory", "sign", gateway, "--member", code, "--yes")
    assert "restart" in hub.good("directory", "publish", gateway)


@pytest_asyncio.fixture
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("h")
    region = await asyncio.to_thread(found, folder / "k")
    (region.home("SG") / "hub").symlink_to(region.hub / "hub")  # as with the directory at hand
    sg_tokens = SoftTokens.make(folder / "s", "sg-card")
    hub_tokens = SoftTokens.make(folder / "t", "hub-hsm")
    environment = {"SG": sg_tokens.environment, "hub": hub_tokens.environment}
    sg = Machine(region.home("SG"), region.passphrase_file, environment["SG"])
    hub = Machine(region.hub, region.passphrase_file, environment["hub"])
    await asyncio.to_thread(enrol, region, sg, hub)
    (region.home("SG") / "hub").unlink()
    region = DemoRegion(region.folder, region.passphrase, region.tokens, ("SG", "MY"))
    processes = Processes(region, environment)
    try:
        await processes.start_all()
        async with desks(region) as clients:
            yield Scene(region, processes, sg, hub, sg_tokens, hub_tokens, clients)
    finally:
        await processes.stop()


def kinds(folder: Path, name: str, passphrase: bytes) -> dict[str, str]:
    entries = KeyStore.open(folder / name, passphrase).entries
    return {name: entry.kind for name, entry in entries.items()}


async def test_node_and_gateway_sign_with_tokens_and_wait_for_those_that_are_taken_out(
    scene: Scene,
) -> None:
    region, place = scene.region, Home(scene.region.home("SG"))
    node = kinds(place.node_keys, STORE_NAME, region.passphrase)
    (ours,) = [name for name in node if name.startswith("sign/")]
    assert node[ours] == "pkcs11"
    gateway = kinds(Home(region.hub).hub_keys, GATEWAY_STORE, region.passphrase)
    assert gateway[DECISIONS] == "pkcs11"
    await scene.arrives(1)
    listed = json.loads(await asyncio.to_thread(scene.sg.good, "keys", "list", "--json"))["keys"]
    (shown,) = [key for key in listed if key["use"] == "sign"]
    assert shown["token"].startswith("pkcs11:token=sg-card;object=sign-1?module-path=/")
    assert (
        bytes.fromhex(shown["kid"])
        in PublishedDirectory.at(region.hub).view().member("SG").verification
    )

    # SG's token is taken out: what desks queue waits and says why, and goes once it is back.
    scene.sg_tokens.unplug()
    waiting = await scene.desks["SG"].send(warning(2, ("MY",)))
    async with must_come(BOUND_S, lambda: "what waits never said why"):
        while waiting.shown.waiting_for != UNUSABLE:
            await asyncio.sleep(0.1)
            await waiting.refresh()
    assert waiting.shown.state is SubmissionState.QUEUED
    async with must_come(BOUND_S, lambda: "no alarm about the token that is out"):
        while not (raised := await unusable(scene.desks["SG"])):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
    assert raised.startswith("token-absent: there is no token sg-card")
    assert "plug it in" in raised
    await scene.processes.kill("SG")  # a node starts without its token, too: its desks may queue
    await scene.processes.start_node("SG")
    another = await scene.desks["SG"].send(warning(3, ("MY",)))
    scene.sg_tokens.plug_in()
    await waiting.wait("delivered", timeout_s=BOUND_S)
    await another.wait("delivered", timeout_s=BOUND_S)

    # The hub's is: nothing is decided meanwhile, nothing lost, and nothing comes twice.
    log = region.folder / "hub.log"
    scene.hub_tokens.unplug()
    third = await scene.desks["SG"].send(warning(4, ("MY",)))
    async with must_come(BOUND_S, lambda: "the hub never said that its token is out"):
        while b"token-absent" not in log.read_bytes():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
    scene.hub_tokens.plug_in()
    await third.wait("delivered", timeout_s=BOUND_S)
    assert (await scene.desks["MY"].node_status()).exercise_inbox == 4


async def unusable(desk: Client) -> str:
    """What the alarm about the node's token says; empty if there is none."""
    found = [each for each in (await desk.node_status()).alarms if each.code == UNUSABLE]
    return found[0].detail if found else ""


def test_a_ceremony_enrols_public_keys_out_of_tokens(tmp_path: Path) -> None:
    """Ministry, node and gateway have their keys in tokens from the first day."""
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of this test\n")
    secret.chmod(0o600)
    tokens = SoftTokens.make(tmp_path / "s", "card", "ministry")
    sg = Machine(tmp_path / "SG", secret, tokens.environment)
    hub = Machine(tmp_path / "hub", secret, tokens.environment)
    node_uri, own_uri = tokens.uri("card", "node"), tokens.uri("ministry", "directory")
    gateway_uri = tokens.uri("card", "gateway")
    made = {
        uri: json.loads(sg.good("keys", "make", uri, "--json"))
        for uri in (node_uri, own_uri, gateway_uri)
    }
    files = []
    for code, machine in (("SG", sg), *((c, Machine(tmp_path / c, secret)) for c in ("MY", "VN"))):
        files.append(str(tmp_path / f"{code}.json"))
        in_tokens = ("--pkcs11", node_uri, "--ministry-pkcs11", own_uri) if code == "SG" else ()
        policy = str(policies() / f"{code}.toml")
        machine.good("member", "apply", code, "--policy", policy, "--out", files[-1], *in_tokens)
    hub.good("hub", "init", "--small", "--pkcs11", gateway_uri)
    out = str(tmp_path / "found.json")
    agreement = str(policies() / "agreement.toml")
    hub.good("region", "init", *files, "--agreement", agreement, "--out", out)
    for code, machine in (("SG", sg), *((c, Machine(tmp_path / c, secret)) for c in ("MY", "VN"))):
        machine.good("directory", "sign", out, "--member", code, "--yes")
    hub.good("region", "trust", out)
    hub.good("directory", "publish", out)
    view = PublishedDirectory.at(hub.home).view()
    assert set(view.member("SG").verification) == {bytes.fromhex(made[node_uri]["kid"])}
    assert [key.key.hex() for key in view.hub.gateway_keys] == [made[gateway_uri]["public"]]
    assert not (sg.home / "member" / "SG" / "directory.keystore").exists()
    assert PIN not in (sg.home / "member" / "SG" / "signer.json").read_text()

    # Nothing of the ministry's is signed without its token.
    (sg.home / "hub").symlink_to(hub.home / "hub")
    sg.good("region", "trust", out)
    change = str(tmp_path / "change.json")
    tokens.unplug()
    code, said = sg.refused("officer", "add", "SG-A", "--member", "SG", "--out", change)
    assert (code, "plug it in" in said) == ("token-absent", True)
    assert not Path(change).exists()
    tokens.plug_in()
    sg.good("officer", "add", "SG-B", "--member", "SG", "--out", change)
    hub.good("directory", "publish", change)
    assert "SG-B" in sg.good("officer", "list", "--member", "SG")
    assert "the token signs" in sg.good("keys", "check")


def test_a_node_whose_token_does_not_open_ends_with_words(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of this test\n")
    secret.chmod(0o600)
    tokens = SoftTokens.make(tmp_path / "s", "card")
    machine = Machine(tmp_path / "SG", secret, tokens.environment)
    (tmp_path / "ca.pem").write_text("not read before the key\n")
    uri = tokens.uri("card", "node")
    init = ("node", "init", "--member", "SG", "--hub", "tls://127.0.0.1:4222", "--ca",
            str(tmp_path / "ca.pem"), "--pkcs11")  # fmt: skip
    assert machine.refused(*init, uri)[0] == "token-no-key"
    machine.good("keys", "make", uri)
    assert machine.refused(*init, f"{uri}?pin-value={PIN}")[0] == "bad-token-uri"
    machine.good(*init, uri)
    tokens.offer("0000")
    assert machine.refused("node", "run")[0] == "token-pin"
    tokens.offer(PIN)
    code, said = machine.refused("node", "run")  # a service started again does not use up tries
    assert (code, "kentong keys check" in said) == ("token-pin-tries", True)
    machine.good("keys", "check")
    tokens.pin_file.unlink()
    assert machine.refused("node", "run")[0] == "no-such-file"
    nowhere = Machine(machine.home, secret, {"SOFTHSM2_CONF": str(tokens.settings)})
    code, said = nowhere.refused("node", "run")
    assert (code, "KENTONG_PKCS11_PIN_FILE" in said) == ("no-pin", True)
