"""Every key of a running node is replaced, one after the other: mail goes on, nothing is lost.

Real processes; each change by command, as an administrator would.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.region import policies
from broker.cli.demo.story import desks
from keys.directory.source import PublishedDirectory
from keys.errors import KeyFileError
from keys.home import Home
from keys.identity import STORE_NAME, MemberIdentity, identity_in, next_storage_key
from keys.keystore import FLOOR_LOG2N, KeyStore
from tests.support.commands import Machine
from tests.support.processes import running_region, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(480)]
BOUND_S = 60.0


def ministry(folder: Path, home: Path, hub: Path) -> Path:
    """SG's ministry: its keys, with the directory as the hub publishes it."""
    folder.mkdir(mode=0o700)
    for name in ("member", "region", "node"):
        (folder / name).symlink_to(home / name)
    (folder / "hub").symlink_to(hub / "hub")
    return folder


async def test_a_node_with_all_its_keys_replaced_sends_receives_witnesses_and_reads_its_past(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("r")
    async with running_region(folder / "k", log=True) as (
        region,
        processes,
        clients,
    ):
        first = await clients["MY"].send(warning(1, ("SG",)))
        await first.wait("delivered", timeout_s=BOUND_S)
        home = region.home("SG")
        before = MemberIdentity.load(Home(home).node_keys, region.passphrase)
        place = await asyncio.to_thread(ministry, folder / "m", home, region.hub)
        sg = Machine(place, region.passphrase_file)
        hub = Machine(region.hub, region.passphrase_file)
        out = str(folder / "all.json")
        flags = ("--signing", "--witness", "--connection", "--out", out)
        await asyncio.to_thread(sg.good, "keys", "rotate", *flags)
        own = Machine(home, region.passphrase_file)
        assert (await asyncio.to_thread(own.refused, "node", "rewrap"))[0] == "node-runs"
        await asyncio.to_thread(hub.good, "directory", "publish", out)
        await processes.kill("SG")
        said = await asyncio.to_thread(own.good, "node", "rewrap")
        assert not said.startswith("0 ")
        await processes.start_node("SG")

        after = MemberIdentity.load(Home(home).node_keys, region.passphrase)
        for name in ("kid", "storage_key", "nats_account_seed", "nats_user_seed"):
            assert getattr(before, name) != getattr(after, name), name
        assert after.next_witness_seed
        view = PublishedDirectory.at(region.hub).view().member("SG").document
        assert len(view.verification_keys) == 2
        old, new = view.witness_keys
        assert old.not_after == new.not_before  # the one of today proves the directory that ends it
        async with desks(region) as again:
            for sender, to, number in (("SG", "MY", 2), ("MY", "SG", 3)):
                sent = await again[sender].send(warning(number, (to,)))
                await sent.wait("delivered", timeout_s=BOUND_S)
            shown = (await again["SG"].inbox()).items
            assert len(shown) == 2  # the one of before opens under the new storage key
            for item in shown:
                assert (await again["SG"].show(item.id)).alert
            grown = (await log_status(hub))["size"]
            async with must_come(BOUND_S, lambda: "SG never cosigned under its new key"):
                while not await cosigned_by_sg(hub, grown):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.5)


async def cosigned_by_sg(hub: Machine, size: int) -> bool:
    """Whether SG, under the key that the directory names now, cosigned the log at this size."""
    shown = await log_status(hub)
    return shown["witnessed"] >= size and any("SG" in name for name in shown["witnesses"])


async def log_status(hub: Machine) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(await asyncio.to_thread(hub.good, "log", "status", "--json"))
    return shown


def test_a_node_whose_storage_key_is_half_changed_does_not_run(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of this test\n")
    secret.chmod(0o600)
    (tmp_path / "ca.pem").write_text("not read before the keys\n")
    machine, ca = Machine(tmp_path / "SG", secret), str(tmp_path / "ca.pem")
    machine.good("node", "init", "--member", "SG", "--hub", "tls://127.0.0.1:4222", "--ca", ca)
    store = KeyStore.open(Home(machine.home).node_keys / STORE_NAME, secret.read_bytes().strip())
    old, new = next_storage_key(store)
    assert next_storage_key(store) == (old, new)
    assert machine.refused("node", "run")[0] == "storage-half-changed"
    with pytest.raises(KeyFileError):
        identity_in(store)
    machine.good("node", "rewrap")
    store.reload()
    assert identity_in(store).storage_key == new


def test_every_key_store_of_a_home_gets_another_passphrase(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of this test\n")
    new = tmp_path / "private" / "new"
    new.parent.mkdir(mode=0o700)
    new.write_text("another passphrase\n")
    for file in (secret, new):
        file.chmod(0o600)
    home = tmp_path / "SG"
    policy, out = str(policies() / "SG.toml"), str(tmp_path / "application.json")
    Machine(home, secret).good("member", "apply", "SG", "--policy", policy, "--out", out)
    others = KeyStore.create(
        home / "officers" / "of-another.keystore", b"his own", {}, log2n=FLOOR_LOG2N
    )
    listed = Machine(home, secret).good("keys", "list", "--json")
    words = ("keys", "passphrase", "--new-passphrase-file", str(new))
    said = Machine(home, secret).good(*words)
    assert said.splitlines() == [
        "2 key stores are changed.",
        f"{others.path.name} has another passphrase.",
    ]
    assert Machine(home, secret).refused("keys", "list")[0] == "wrong-passphrase"
    assert Machine(home, new).good("keys", "list", "--json") == listed
    assert Machine(home, secret).good(*words).startswith("0 key stores")  # interrupted, run again
