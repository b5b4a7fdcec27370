"""Ending keys, officers, members by command, and what stands in their place afterwards."""

import json
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.region import DemoRegion, found
from broker.cli.exits import EXIT_FAULT, EXIT_MISUSE, EXIT_REFUSED
from broker.hub.place import HubPlace
from keys.directory.holders import load_online_signers
from keys.directory.source import PublishedDirectory
from keys.home import Home
from keys.keystore import KeyStore
from tests.cli.test_ceremonies import run, snapshot, with_ministry

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> DemoRegion:
    return found(tmp_path_factory.mktemp("c") / "k")


def good(region: DemoRegion, where: Path, *words: str) -> str:
    done = run(region, where, *words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def refused(region: DemoRegion, where: Path, *words: str) -> tuple[int, str]:
    done = run(region, where, *words)
    return done.returncode, done.stderr.rpartition("[")[2].rstrip("]\n")


def kids(region: DemoRegion, home: Path, use: str) -> list[str]:
    listed = json.loads(good(region, home, "keys", "list", "--json"))["keys"]
    return [key["kid"] for key in listed if key["use"] == use]


def published(region: DemoRegion, out: Path) -> None:
    good(region, region.hub, "directory", "publish", str(out))
    good(region, region.hub, "directory", "verify")


def test_a_member_revokes_its_own_signing_key_alone(region: DemoRegion, tmp_path: Path) -> None:
    sg, out = with_ministry(region, "SG"), tmp_path / "rotate.json"
    (old,) = kids(region, sg, "sign")
    good(region, sg, "keys", "rotate", "--signing", "--out", str(out))
    published(region, out)
    gone = tmp_path / "revoke.json"
    asked = ("member", "revoke", "SG", "--key", old, "--reason", "lost", "--out", str(gone))
    assert f"directory publish {gone}".split()[-1] in good(region, sg, *asked).replace("\n  ", "")
    published(region, gone)
    again = ("member", "revoke", "SG", "--key", old, "--out", str(tmp_path / "again.json"))
    assert refused(region, sg, *again) == (EXIT_FAULT, "key-revoked")
    assert not (tmp_path / "again.json").exists()


def test_a_stolen_encryption_key_is_replaced_at_once(region: DemoRegion, tmp_path: Path) -> None:
    my, out = with_ministry(region, "MY"), tmp_path / "stolen.json"
    before = set(kids(region, my, "open"))
    good(region, my, "keys", "rotate", "--stolen", "--out", str(out))
    published(region, out)
    (new,) = set(kids(region, my, "open")) - before
    gone = tmp_path / "revoke.json"
    good(region, my, "member", "revoke", "MY", "--key", new, "--out", str(gone))
    published(region, gone)


def test_a_member_revokes_its_officer_and_nobody_elses(region: DemoRegion, tmp_path: Path) -> None:
    vn, out = with_ministry(region, "VN"), tmp_path / "revoke.json"
    foreign = ("member", "revoke", "SG", "--officer", "SG-7Q4", "--out", str(out))
    assert refused(region, vn, *foreign)[0] == EXIT_FAULT
    assert not out.exists()
    good(region, vn, "member", "revoke", "VN", "--officer", "VN-7Q4", "--out", str(out))
    published(region, out)
    listed = json.loads(good(region, vn, "officer", "list", "--member", "VN", "--json"))
    assert [each["id"] for each in listed["officers"] if each["revoked"]] == ["VN-7Q4"]


def test_exactly_one_thing_is_revoked_at_a_time(region: DemoRegion, tmp_path: Path) -> None:
    sg, out = with_ministry(region, "SG"), str(tmp_path / "x.json")
    for words in ((), ("--whole", "--officer", "SG-7Q4"), ("--key", "00", "--whole")):
        done = run(region, sg, "member", "revoke", "SG", *words, "--out", out)
        assert done.returncode == EXIT_MISUSE, words
        assert "--officer" in done.stderr
    short = ("member", "revoke", "SG", "--key", "00", "--out", out)
    assert refused(region, sg, *short) == (EXIT_REFUSED, "bad-kid")
    unknown = ("member", "revoke", "SG", "--key", "00" * 16, "--out", out)
    assert refused(region, sg, *unknown) == (EXIT_FAULT, "unknown-key")
    nobody = ("member", "revoke", "XX", "--whole", "--out", out)
    assert refused(region, sg, *nobody) == (EXIT_REFUSED, "unknown-member")
    assert not Path(out).exists()


def test_two_members_suspend_a_key_of_a_third(region: DemoRegion, tmp_path: Path) -> None:
    out = tmp_path / "suspend.json"
    view = PublishedDirectory.at(region.hub).view()
    (kid,) = list(view.member("TH").verification)
    asked = ("directory", "propose", "--suspend", "TH", "--key", kid.hex())
    good(region, region.hub, *asked, "--reason", "compromised", "--out", str(out))
    for code in ("SG", "VN"):
        good(region, with_ministry(region, code), "directory", "sign", str(out), "--member", code,
             "--yes")  # fmt: skip
    published(region, out)
    after = PublishedDirectory.at(region.hub).view()
    assert after.verification_standing("TH", kid).stolen
    assert after.member("TH").suspended_at is None
    nobody = ("directory", "propose", "--suspend", "XX", "--out", str(tmp_path / "x.json"))
    assert refused(region, region.hub, *nobody) == (EXIT_REFUSED, "unknown-member")


def test_the_threshold_revokes_a_whole_member_and_may_lift_it(
    region: DemoRegion, tmp_path: Path
) -> None:
    out, before = tmp_path / "revoke-th.json", snapshot(region)
    good(region, region.hub, "member", "revoke", "TH", "--whole", "--out", str(out))
    for code in ("SG", "MY"):
        good(region, with_ministry(region, code), "directory", "sign", str(out), "--member", code,
             "--yes")  # fmt: skip
        below = refused(region, region.hub, "directory", "publish", str(out))
        assert below == (EXIT_FAULT, "below-threshold")
    assert snapshot(region) == before
    good(region, with_ministry(region, "VN"), "directory", "sign", str(out), "--member", "VN",
         "--yes")  # fmt: skip
    published(region, out)
    shown = json.loads(good(region, region.hub, "directory", "show", "--json"))["members"]
    (th,) = [each for each in shown if each["code"] == "TH"]
    assert (th["groups"], bool(th["suspended_at"])) == ([], True)

    # It has no seat any more: with three holders left, its signature counts for nothing.
    lift = tmp_path / "lift.json"
    good(region, region.hub, "directory", "propose", "--lift", "TH", "--out", str(lift))
    without = ("directory", "sign", str(lift), "--member", "TH", "--yes")
    assert refused(region, with_ministry(region, "TH"), *without) == (EXIT_FAULT, "nothing-to-sign")
    for code in ("SG", "MY", "VN"):
        good(region, with_ministry(region, code), "directory", "sign", str(lift), "--member", code,
             "--yes")  # fmt: skip
    published(region, lift)
    shown = json.loads(good(region, region.hub, "directory", "show", "--json"))["members"]
    assert not [each["code"] for each in shown if each["suspended_at"]]
    again = ("directory", "propose", "--lift", "TH", "--out", str(tmp_path / "again.json"))
    assert refused(region, region.hub, *again) == (EXIT_FAULT, "not-suspended")
    few = ("member", "revoke", "VN", "--whole", "--out", str(tmp_path / "few.json"))
    assert refused(region, region.hub, *few) == (EXIT_FAULT, "too-few-holders")


def test_a_ministry_that_lost_its_key_gets_another(tmp_path: Path) -> None:
    made = found(tmp_path / "other")
    th, out = with_ministry(made, "TH"), tmp_path / "rekey.json"
    old = (th / "member" / "TH" / "directory.keystore").read_bytes()
    good(made, th, "member", "rekey", "TH", "--out", str(out))
    again = ("member", "rekey", "TH", "--out", str(tmp_path / "again.json"))
    assert refused(made, th, *again) == (EXIT_REFUSED, "exists")
    for code in ("SG", "MY", "VN"):
        good(made, with_ministry(made, code), "directory", "sign", str(out), "--member", code,
             "--yes")  # fmt: skip
    published(made, out)
    kept = [path.read_bytes() for path in (th / "member").glob("TH.*/directory.keystore")]
    assert kept == [old]
    own = tmp_path / "own.json"
    good(made, th, "officer", "revoke", "TH-7Q4", "--member", "TH", "--out", str(own))
    published(made, own)


def test_the_hub_gets_other_keys(tmp_path: Path) -> None:
    made = found(tmp_path / "other")
    stores = Home(made.hub).hub_keys
    both = ("hub", "rekey", "--out", str(tmp_path / "x.json"))
    assert run(made, made.hub, *both).returncode == EXIT_MISUSE

    def stored(name: str) -> set[str]:
        return set(KeyStore.open(stores / name, made.passphrase).entries)

    def signed_and_published(out: Path) -> str:
        for code in ("SG", "MY", "VN"):
            good(made, with_ministry(made, code), "directory", "sign", str(out), "--member", code,
                 "--yes")  # fmt: skip
        said = good(made, made.hub, "directory", "publish", str(out))
        good(made, made.hub, "directory", "verify")
        return said

    online = tmp_path / "online.json"
    before = load_online_signers(stores, made.passphrase)
    good(made, made.hub, "hub", "rekey", "--online", "--out", str(online))
    again = ("hub", "rekey", "--online", "--out", str(tmp_path / "again.json"))
    assert refused(made, made.hub, *again) == (EXIT_FAULT, "exists")
    online.unlink()
    good(made, made.hub, "hub", "rekey", "--online", "--again", "--out", str(online))
    assert "restart" in signed_and_published(online)
    after = load_online_signers(stores, made.passphrase)
    assert after.timestamp.public_key != before.timestamp.public_key
    assert stored("directory.keystore") == {"snapshot", "timestamp"}
    repository = PublishedDirectory.at(made.hub).repository
    repository.renew_timestamp(online=after, now=clock.now())

    gateway = tmp_path / "gateway.json"
    old = HubPlace(made.hub).open_gateway(made.passphrase).kid
    good(made, made.hub, "hub", "rekey", "--gateway", "--stolen", "--out", str(gateway))
    assert HubPlace(made.hub).open_gateway(made.passphrase).kid == old  # until it is published
    assert "restart" in signed_and_published(gateway)
    new = HubPlace(made.hub).open_gateway(made.passphrase).kid
    view = PublishedDirectory.at(made.hub).view()
    assert view.gateway_key(new, at=clock.now())
    assert view.gateway_standing(old).stolen
    assert not any(name.startswith("next/") for name in stored("gateway.keystore"))
