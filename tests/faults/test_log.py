"""The log among real processes: its signer, its sequencer and the hub killed, and no leaf lost."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker import clock
from broker.audit.evidence import parse_evidence
from broker.cli.demo import alerts
from broker.cli.demo.region import NODES, DemoRegion
from broker.client import Client
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.log.announcement import stream_id
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.merkle import tree_root
from broker.log.note import parse_note
from broker.log.notekeys import parse_vkey, verify_note
from broker.log.policyfile import write_policy
from broker.log.regional import regional_policy
from broker.log.tiles import bundles_of, lookup_in
from broker.transport.link import Link
from broker.transport.streamstates import stream_states
from keys.directory.source import PublishedDirectory
from schemas.desk import LogShown
from tests.cli.test_ceremonies import run
from tests.support.processes import kill_child, running_region, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]
COUNT = 30
KILLS = ("log sign", "log run", "gateway run", "log sign", "log run")


async def send(client: Client, number: int) -> None:
    request = warning(number, ("MY", "VN"))
    submission = await client.submit(await client.prepare(request))
    await submission.wait("accepted")


def published(place: LedgerPlace) -> Checkpoint:
    """The checkpoint in sight, both signatures verified."""
    raw = place.files.checkpoint()
    assert raw is not None
    note = parse_note(raw)
    keys = [parse_vkey(line) for line in place.vkeys_file.read_text().splitlines()]
    assert len(verify_note(note, keys)) == 2
    return parse_checkpoint(note.text)


def leaves(place: LedgerPlace, checkpoint: Checkpoint) -> list[Leaf]:
    """Every leaf, the tree under the checkpoint computed again."""
    size, files = checkpoint.size, place.files
    assert tree_root(size, lookup_in(files.read, size)) == checkpoint.root
    return [parse_leaf(raw) for tile in bundles_of(size) for raw in files.read(tile)]


async def test_every_decision_has_its_leaf_whatever_was_killed(tmp_path: Path) -> None:
    async with (
        must_come(560, lambda: "not all decisions have their leaf"),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        place, hub = LedgerPlace(region.hub), HubPlace(region.hub)
        kills = iter(KILLS)
        for number in range(COUNT):
            await send(clients[NODES[0]], number)
            if number % 6 == 5:
                word = next(kills)
                while not kill_child(processes, word):  # noqa: ASYNC110 - not started again yet
                    await asyncio.sleep(0.1)
        secrets = hub.open_hub(region.passphrase)
        async with Link(secrets.hub_credentials(hub, hub.config())) as link:
            await link.wait_connected()
            while place.files.checkpoint() is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            while True:  # until all is in the tree that the stream holds
                name = f"AUDIT_{clock.now().year}"
                state = (await stream_states(link, "audit.>"))[name]
                here = stream_id(name, state.created)
                found = leaves(place, published(place))
                places = {(leaf.stream, leaf.stream_seq) for leaf in found}
                seen = {seq for stream, seq in places if stream == here}
                kinds = [leaf.signed.statement.kind for leaf in found]
                beside = await without_leaf(link, state.last_seq, seen)
                if kinds.count(LeafKind.EXERCISE) >= COUNT and not beside:
                    break
                await asyncio.sleep(0.2)
        assert len(places) == len(found)  # none twice
        decided = {LeafKind.EXERCISE, LeafKind.DECISION, LeafKind.VOID}
        assert set(kinds) <= {*decided, LeafKind.GATEWAY, LeafKind.DIRECTORY}
        numbers = {
            (leaf.signed.statement.gateway, leaf.signed.statement.boot, leaf.signed.statement.seq)
            for leaf in found
        }
        assert len(numbers) == len(found)
        audited(region, place, tmp_path)


def audited(region: DemoRegion, place: LedgerPlace, folder: Path) -> None:
    """The log as files, verified by the commands an auditor has."""
    bundle, policy, gateways = folder / "log.tar", folder / "policy", folder / "gateways"
    done = run(region, region.hub, "audit", "export", str(bundle))
    assert done.returncode == 0, done.stderr
    keys = run(region, region.hub, "log", "keys")
    assert keys.returncode == 0, keys.stderr
    gateways.write_text(keys.stdout)
    vkeys = place.vkeys_file.read_text().splitlines()
    policy.write_text("".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n")
    words = ("audit", "verify", str(bundle), "--policy", str(policy), "--gateways", str(gateways))
    done = run(region, folder / "nowhere", *words, "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    outcomes = {check["check"]: check["outcome"] for check in told["checks"]}
    assert set(outcomes.values()) <= {"PASS", "SKIP", "WARN"}, told
    assert (done.returncode, outcomes["gateway signatures"]) == (0, "PASS")
    status = run(region, region.hub, "log", "status", "--json")
    assert json.loads(status.stdout)["size"] >= told["size"]


async def without_leaf(link: Link, last: int, seen: set[int]) -> list[int]:
    """Numbers of the decisions that no leaf speaks of yet."""
    stream = f"AUDIT_{clock.now().year}"
    missing = [seq for seq in range(1, last + 1) if seq not in seen]
    stored = [await link.get(stream, seq) for seq in missing]
    return [
        each.seq
        for each in stored
        if each is not None and not {"once", "left"}.intersection(each.subject.split("."))
    ]


async def test_every_node_finds_its_own_mail_under_a_quorum(tmp_path: Path) -> None:
    async with (
        must_come(570, lambda: "not all mail is found in the log"),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        for number in range(3):
            await send(clients["SG"], number)
        await processes.kill("VN")  # three witnesses of three are needed: nothing is proved now
        await send(clients["SG"], 3)
        while (await shown(clients["SG"])).own_waiting == 0:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        before = await shown(clients["SG"])
        await processes.start_node("VN")
        for client in clients.values():
            while (log := await shown(client)).own_waiting or not log.own_proved:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            assert log.cosigned_by == ("MY", "SG", "VN")
        after = await shown(clients["SG"])
        assert after.own_proved > before.own_proved
        assert after.proven >= after.own_proved
        envelope = (await clients["SG"].outbox()).items[0].id
        for code in ("SG", "MY"):  # who sent it, and who received it
            await asyncio.to_thread(prove_to_others, region, code, str(envelope), tmp_path)


def prove_to_others(region: DemoRegion, code: str, ident: str, folder: Path) -> None:
    """One file proves it to whoever has the root and a policy, and no changed part of it does."""
    home, file, trust = region.home(code), folder / f"{code}.evidence", folder / "trust.policy"
    view = PublishedDirectory.at(region.hub).view()
    trust.write_bytes(write_policy(regional_policy(view, at=clock.now())))
    early = ("--early",) if code == "MY" else ()
    made = run(region, home, "evidence", ident, "--out", str(file), *early)
    assert made.returncode == 0, made.stderr

    def verified(raw: bytes) -> tuple[int, dict[str, Any]]:
        changed = folder / "changed.evidence"
        changed.write_bytes(raw)
        done = run(
            region, home, "evidence", "verify", str(changed), "--policy", str(trust), "--json"
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}

    exit_code, found = verified(file.read_bytes())
    assert exit_code == 0, found
    assert (found["proves"]["id"], found["proves"]["sender"]) == (ident, "SG")
    assert sorted(found["proves"]["cosigned"]) == ["MY", "SG", "VN"]
    whole = parse_evidence(file.read_bytes())
    for part in ("envelope", "decision", "leaf", "proof", "directory"):
        raw = bytearray(getattr(whole, part))
        raw[len(raw) // 2] ^= 1
        exit_code, found = verified(replace(whole, **{part: bytes(raw)}).to_bytes())
        assert exit_code == 1, part
        assert found["proves"] == {}
    assert verified(file.read_bytes()[:-1])[0] == 2
    assert run(region, home, "evidence", ident, "--out", str(file)).returncode != 0
    show_to_others(region, code, ident, folder, trust)


def show_to_others(region: DemoRegion, code: str, ident: str, folder: Path, trust: Path) -> None:
    """A recipient may show what the alert says; a changed key, or another reader, does not pass."""
    home, file = region.home(code), folder / f"{code}.shown"
    made = run(region, home, "evidence", ident, "--content", "--out", str(file))
    if code == "SG":  # it sent it, and holds no key of it
        assert made.returncode == 1
        assert "not-a-recipient" in made.stderr
        assert not file.exists()
        return
    assert made.returncode == 0, made.stderr
    words = ("evidence", "verify", str(file), "--policy", str(trust), "--json")
    told = json.loads(run(region, home, *words).stdout)
    assert told["ok"]
    assert told["content"]["officer"] == "SG-7Q4"
    assert alerts.PHRASE in json.dumps(told["content"]["alert"])
    whole = parse_evidence(file.read_bytes())
    given = whole.disclosure
    assert given is not None
    for wrong in (
        replace(given, key=bytes(32)),
        replace(given, random=bytes(32)),
        replace(given, recipient="VN"),
        replace(given, key=given.key[:31]),
    ):
        file.write_bytes(replace(whole, disclosure=wrong).to_bytes())
        done = run(region, home, *words)
        assert done.returncode == 1
        assert alerts.PHRASE not in done.stdout
    words = ("evidence", "verify", str(folder / "none"), "--policy", str(trust))
    assert run(region, home, *words).returncode == 2
    printed = run(region, home, "witness", "policy")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.encode() == trust.read_bytes()
    keys = run(region, home, "witness", "policy", "--gateways")
    assert keys.stdout == run(region, region.hub, "log", "keys").stdout


async def shown(client: Client) -> LogShown:
    found = (await client.node_status()).log
    assert found is not None
    return found
