"""Auditors open what the hub could not: real processes, every step by its command."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import NODES, DemoRegion
from broker.client import Client
from broker.ledger.place import LedgerPlace
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.tiles import bundles_of
from schemas.decision import parse_decision
from schemas.desk import DraftRequest
from schemas.vocabulary import TLP, Purpose, Status
from tests.cli.test_ceremonies import run, with_ministry
from tests.faults.test_log import published
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]
HOLDERS = ("SG", "MY", "VN")


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def with_auditors(region: DemoRegion) -> None:
    """A key of auditors in the directory, signed by three of four members."""
    words = region.folder / "words"
    words.mkdir(mode=0o700)
    for code in HOLDERS:
        (words / code).write_bytes(region.passphrase + b"\n")
        (words / code).chmod(0o600)
    made, change = region.folder / "auditors", region.folder / "auditors-change.json"
    init = ("auditors", "init", "--threshold", "2", "--out", str(made))
    done(run(region, region.hub, *init, "--passphrases", str(words), *HOLDERS))
    named = ("--auditors", str(made / "auditors.json"), "--out", str(change))
    done(run(region, region.hub, "directory", "propose", *named))
    for code in HOLDERS:
        sign = ("directory", "sign", str(change), "--member", code, "--yes")
        done(run(region, with_ministry(region, code), *sign))
    done(run(region, region.hub, "directory", "publish", str(change)))


async def send(client: Client, number: int) -> str:
    request = DraftRequest(
        status=Status.ACTUAL,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=("MY", "VN"),
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )
    submission = await client.submit(await client.prepare(request))
    await submission.wait("accepted")
    return str(submission.shown.id)


def kinds(place: LedgerPlace) -> list[LeafKind]:
    if place.files.checkpoint() is None:  # the log starts beside the hub
        return []
    size = published(place).size
    raws = (raw for tile in bundles_of(size) for raw in place.files.read(tile))
    return [parse_leaf(raw).signed.statement.kind for raw in raws]


def opened(region: DemoRegion, folder: Path) -> tuple[Path, dict[str, str]]:
    """The log with every opening in it, and each opening's index by the id that it speaks of."""
    sealed, bundle, key = folder / "sealed", folder / "bundle", region.folder / "a.key"
    shares = [str(region.folder / "auditors" / f"{code}.keystore") for code in ("VN", "SG")]
    public = str(region.folder / "auditors" / "auditors.json")
    folder.mkdir(mode=0o700)
    done(run(region, region.hub, "log", "openings", "--out", str(sealed)))
    done(run(region, region.hub, "audit", "export", str(bundle)))
    if not key.exists():
        words = ("--passphrases", str(region.folder / "words"))
        combine = ("auditors", "combine", *shares, "--public", public, "--out", str(key))
        done(run(region, region.hub, *combine, *words))
    out = str(bundle / "openings")
    done(run(region, region.hub, "audit", "open", str(sealed), str(bundle), *keyed(key), out))
    found = {}
    for path in (bundle / "openings").iterdir():
        raw = path.read_bytes()
        if len(raw) > 40:  # else of an erasure
            found[str(parse_decision(raw).header.id)] = path.name
    return bundle, found


def keyed(key: Path) -> tuple[str, ...]:
    return ("--key", str(key), "--out")


def verified(region: DemoRegion, bundle: Path) -> dict[str, dict[str, str]]:
    """What `audit verify` says of openings and erasures, every check passed but for the quorum."""
    policy, gateways = bundle.parent / "policy", bundle.parent / "gateways"
    lines = LedgerPlace(region.hub).vkeys_file.read_text().splitlines()
    policy.write_text("".join(f"log {line}\n" for line in lines) + "quorum none\n")
    gateways.write_text(done(run(region, region.hub, "log", "keys")))
    asked = ("audit", "verify", str(bundle), "--policy", str(policy), "--gateways", str(gateways))
    shown = json.loads(run(region, region.hub, *asked, "--json").stdout)
    assert [check for check in shown["checks"] if check["outcome"] == "FAIL"] == []
    return {check["check"]: check for check in shown["checks"]}


async def test_two_of_three_holders_open_every_decision_and_an_erased_one_no_more(
    tmp_path: Path,
) -> None:
    async with (
        must_come(570, lambda: "not all decisions are in the log, or not opened"),
        running_region(tmp_path / "r", log=True, prepare=with_auditors) as (region, _, clients),
    ):
        place = LedgerPlace(region.hub)
        ids = [await send(clients[NODES[0]], number) for number in range(2)]
        while kinds(place).count(LeafKind.DECISION) < 2:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.2)
        bundle, found = await asyncio.to_thread(opened, region, tmp_path / "first")
        assert set(ids) <= set(found)
        assert verified(region, bundle)["openings"]["outcome"] == "PASS"

        erase = ("log", "erase", "SG", ids[0], "--yes", "--json")
        told = json.loads(done(await asyncio.to_thread(run, region, region.hub, *erase)))
        assert told["leaves"] == 1
        assert kinds(place).count(LeafKind.ERASURE) == 1
        bundle, found = await asyncio.to_thread(opened, region, tmp_path / "second")
        assert ids[0] not in found
        assert ids[1] in found
        checks = verified(region, bundle)
        assert checks["openings"]["outcome"] == "PASS"
        assert checks["erasures"]["outcome"] == "PASS"
        again = json.loads(done(await asyncio.to_thread(run, region, region.hub, *erase)))
        assert again["leaves"] == 0
