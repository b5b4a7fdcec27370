"""What must be signed again soon is said where administrators look."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.region import DemoRegion, found
from broker.cli.exits import EXIT_UNREACHABLE
from keys.directory.ceremony import sign_proposal
from keys.directory.client import DirectoryClient
from keys.directory.drafting import Draft
from keys.directory.holders import load_ministry, load_online_signers
from keys.directory.source import PublishedDirectory
from keys.home import Home
from tests.cli.test_ceremonies import run

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> DemoRegion:
    """TH signed its part 21 days ago, and MY's node has fetched it."""
    region = found(tmp_path_factory.mktemp("c") / "k")
    repository = PublishedDirectory.at(region.hub).repository
    base = repository.trusted().content
    draft = Draft(base, now=clock.now() - timedelta(days=21), bundle=repository.bundle())
    draft.renew("member-TH")
    th = load_ministry(Home(region.home("TH")).ministry("TH"))
    signer = th.signer(lambda _: region.passphrase)
    proposal, _ = sign_proposal(draft.proposal(), base, signer)
    online = load_online_signers(Home(region.hub).hub_keys, region.passphrase)
    repository.publish(proposal, online=online, now=clock.now())

    async def fetch(path: str, *, max_bytes: int) -> bytes | None:  # noqa: ARG001 - a Fetch
        return repository.read(path)

    my = Home(region.home("MY"))
    client = DirectoryClient(my.node_directory, pinned_root=my.pinned_root())
    asyncio.run(client.refresh(fetch, now=clock.now()))
    return region


@pytest.mark.parametrize("code", ["hub", "MY"])
def test_the_directory_shows_what_expires(region: DemoRegion, code: str) -> None:
    home: Path = region.hub if code == "hub" else region.home(code)
    shown = run(region, home, "directory", "show").stdout.replace("\n  ", " ")
    assert "! member-TH must be signed again before" in shown
    assert "directory propose --renew member-TH" in shown
    expiring = json.loads(run(region, home, "directory", "show", "--json").stdout)["expiring"]
    assert [each["role"] for each in expiring] == ["member-TH"]


def test_a_nodes_status_shows_it_as_an_alarm(region: DemoRegion) -> None:
    done = run(region, region.home("MY"), "node", "status", "--json")
    assert done.returncode == EXIT_UNREACHABLE  # it does not run, and says this all the same
    (alarm,) = json.loads(done.stdout)["alarms"]
    assert (alarm["code"], alarm["peer"]) == ("directory-expires-soon", "TH")
    assert "directory-expires-soon TH" in run(region, region.home("MY"), "node", "status").stdout


def test_signing_again_ends_it(region: DemoRegion, tmp_path: Path) -> None:
    th, out = region.home("TH"), tmp_path / "renew.json"
    (th / "hub").symlink_to(region.hub / "hub")
    for home, words in (
        (th, ("directory", "propose", "--renew", "member-TH", "--out", str(out))),
        (th, ("directory", "sign", str(out), "--member", "TH", "--yes")),
        (region.hub, ("directory", "publish", str(out))),
    ):
        done = run(region, home, *words)
        assert done.returncode == 0, done.stderr
    shown = json.loads(run(region, region.hub, "directory", "show", "--json").stdout)
    assert shown["expiring"] == []
