"""Changes to the directory by command: drawn up, signed by ministries, published at the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.demo.region import DemoRegion, found, policies

pytestmark = pytest.mark.processes


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
        timeout=60,
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
