"""Changes to the directory by command: drawn up, signed by ministries, published at the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.demo.region import DemoRegion, found, policies

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> DemoRegion:
    return found(tmp_path_factory.mktemp("c") / "k")


def run(region: DemoRegion, where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    start = "from broker.cli import main; main()"
    environment = {
        **os.environ,  # noqa: TID251 - handed on to a child
        "KENTONG_PASSPHRASE_FILE": str(region.passphrase_file),
        "KENTONG_SCRYPT_LOG2N": "15",
        "KENTONG_HOME": str(where),
    }
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", start, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,  # a process of many on a busy machine
    )


def with_ministry(region: DemoRegion, code: str) -> Path:
    """A ministry's machine: the member's home, with the directory as the hub publishes it."""
    home = region.home(code)
    here = home / "hub"
    if not here.exists():
        here.symlink_to(region.hub / "hub")
    return home


def snapshot(region: DemoRegion) -> int:
    shown = json.loads(run(region, region.hub, "directory", "show", "--json").stdout)
    return int(shown["snapshot"])


def test_an_officer_is_certified_and_revoked(region: DemoRegion, tmp_path: Path) -> None:
    sg = with_ministry(region, "SG")
    before = snapshot(region)
    out = tmp_path / "add.json"
    asked = ("officer", "add", "SG-NEW", "--member", "SG", "--out", str(out))
    done = run(region, sg, *asked)
    assert done.returncode == 0, done.stderr
    published = run(region, region.hub, "directory", "publish", str(out))
    assert published.returncode == 0, published.stderr
    assert snapshot(region) > before
    assert "SG-NEW" in run(region, sg, "officer", "list", "--member", "SG").stdout
    again = run(region, region.hub, "directory", "publish", str(out))
    assert (again.returncode, "stale-proposal" in again.stderr) == (5, True)
    gone = tmp_path / "revoke.json"
    done = run(region, sg, "officer", "revoke", "SG-NEW", "--member", "SG", "--out", str(gone))
    assert done.returncode == 0, done.stderr
    assert run(region, region.hub, "directory", "publish", str(gone)).returncode == 0
    listed = json.loads(run(region, sg, "officer", "list", "--member", "SG", "--json").stdout)
    assert [o["id"] for o in listed["officers"] if o["revoked"]] == ["SG-NEW"]


def test_two_members_suspend_a_third_and_one_cannot(region: DemoRegion, tmp_path: Path) -> None:
    out = tmp_path / "suspend.json"
    done = run(region, region.hub, "directory", "propose", "--suspend", "TH", "--out", str(out))
    assert done.returncode == 0, done.stderr
    before = snapshot(region)
    for number, code in enumerate(("SG", "MY")):
        refused = run(region, region.hub, "directory", "publish", str(out))
        assert (refused.returncode, "below-threshold" in refused.stderr) == (5, True), number
        assert snapshot(region) == before
        home = with_ministry(region, code)
        signed = run(region, home, "directory", "sign", str(out), "--member", code, "--yes")
        assert signed.returncode == 0, signed.stderr
        assert "revocations" in signed.stdout
    done = run(region, region.hub, "directory", "publish", str(out))
    assert done.returncode == 0, done.stderr
    shown = json.loads(run(region, region.hub, "directory", "show", "--json").stdout)
    assert [m["code"] for m in shown["members"] if m["suspended_at"]] == ["TH"]


def test_a_member_signs_its_own_policy_and_no_others(region: DemoRegion, tmp_path: Path) -> None:
    text = (policies() / "MY.toml").read_text().replace("minors-only-for-protection", "minors")
    policy = tmp_path / "MY.toml"
    policy.write_text(text)
    out = tmp_path / "policy.json"
    refused = run(
        region, with_ministry(region, "SG"), "policy", "sign", str(policy), "--out", str(out)
    )
    assert refused.returncode == 5
    assert not out.exists()
    misspelt = tmp_path / "misspelt.toml"
    rule = '[[rule]]\nname = "embargo"\neffect = "forbid"\ndirection = "export"\npeers = ["TW"]\n'
    misspelt.write_text(f"{text}\n{rule}")
    for words in (("check", str(misspelt)), ("sign", str(misspelt), "--out", str(out))):
        refused = run(region, with_ministry(region, "MY"), "policy", *words)
        said = refused.stdout + refused.stderr
        assert refused.returncode != 0
        assert ("peers: no member is called TW" in said, "line" in said) == (True, True), said
        assert not out.exists()
    terms = tmp_path / "agreement.toml"
    agreed = (policies() / "agreement.toml").read_text()
    terms.write_text(
        agreed.replace('recipient_groups = ["partners"]', 'recipient_groups = ["asena"]')
    )
    words = ("directory", "propose", "--agreement", str(terms), "--out", str(out))
    refused = run(region, region.hub, *words)
    assert "recipient_groups: no group is called asena" in refused.stderr
    assert (refused.returncode, out.exists()) == (5, False)
    done = run(
        region, with_ministry(region, "MY"), "policy", "sign", str(policy), "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert run(region, region.hub, "directory", "publish", str(out)).returncode == 0
    assert run(region, region.hub, "directory", "verify").returncode == 0


def test_keys_are_listed_and_rotated_and_the_last_one_is_not_destroyed(
    region: DemoRegion, tmp_path: Path
) -> None:
    sg = with_ministry(region, "SG")
    listed = json.loads(run(region, sg, "keys", "list", "--json").stdout)["keys"]
    only = next(key["kid"] for key in listed if key["use"] == "sign")
    refused = run(region, sg, "keys", "destroy", only)
    assert (refused.returncode, "last-key" in refused.stderr) == (5, True)
    out = tmp_path / "keys.json"
    done = run(region, sg, "keys", "rotate", "--signing", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert run(region, region.hub, "directory", "publish", str(out)).returncode == 0
    after = json.loads(run(region, sg, "keys", "list", "--json").stdout)["keys"]
    assert len([key for key in after if key["use"] == "sign"]) == 2
    nothing = run(region, sg, "keys", "rotate", "--out", str(tmp_path / "again.json"))
    assert (nothing.returncode, "nothing-to-do" in nothing.stderr) == (1, True)
    assert not (tmp_path / "again.json").exists()


def test_three_states_found_a_region_from_nothing_by_command_alone(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of this test\n")
    secret.chmod(0o600)
    made = DemoRegion(tmp_path, secret.read_bytes().strip(), {})
    hub, codes = tmp_path / "hub-home", ("SG", "MY", "VN")

    def good(where: Path, *words: str) -> str:
        done = run(made, where, *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    files = [tmp_path / f"{code}-application.json" for code in codes]
    for code, path in zip(codes, files, strict=True):
        policy = str(policies() / f"{code}.toml")
        good(tmp_path / code, "member", "apply", code, "--policy", policy, "--out", str(path))
    good(hub, "hub", "init", "--small")
    out = tmp_path / "found.json"
    terms = str(policies() / "agreement.toml")
    good(hub, "region", "init", *map(str, files), "--agreement", terms, "--out", str(out))
    early = run(made, hub, "region", "trust", str(out))
    assert early.returncode == 5  # nobody signed it yet
    assert not (hub / "region" / "root.json").exists()
    for code in codes:
        good(tmp_path / code, "directory", "sign", str(out), "--member", code, "--yes")
    machines = [hub, *(tmp_path / code for code in codes)]
    prints = {good(where, "region", "trust", str(out)) for where in machines}
    assert len(prints) == 1
    good(hub, "directory", "publish", str(out))
    good(hub, "directory", "verify")
    assert good(hub, "member", "list").split()[0] == "MY"
    later = tmp_path / "TH-application.json"
    policy = str(policies() / "TH.toml")
    good(tmp_path / "TH", "member", "apply", "TH", "--policy", policy, "--out", str(later))
    admission = tmp_path / "admit.json"
    good(hub, "member", "add", str(later), "--group", "asean", "--out", str(admission))
    good(tmp_path / "SG", "directory", "sign", str(admission), "--member", "SG", "--yes")
    below = run(made, hub, "directory", "publish", str(admission))
    assert (below.returncode, "below-threshold" in below.stderr) == (5, True)
    good(tmp_path / "MY", "directory", "sign", str(admission), "--member", "MY", "--yes")
    good(tmp_path / "TH", "region", "trust", str(out))
    good(tmp_path / "TH", "directory", "sign", str(admission), "--member", "TH", "--yes")
    good(hub, "directory", "publish", str(admission))
    assert "TH" in good(hub, "member", "list")
