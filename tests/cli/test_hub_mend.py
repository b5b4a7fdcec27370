"""`kentong hub mend`: small files of a hub that a disk changed are begun anew, no others."""

import json
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.region import DemoRegion, found
from broker.errors import BrokerError
from broker.hub.erased import note_erased, read_erased
from broker.hub.memory import StreamMemory, read_memory, write_memory
from broker.hub.place import HubPlace
from broker.hub.suspensions import Suspensions, read_suspensions, write_suspensions
from broker.hub.timekeeping import believe, is_believed, read_time
from keys.files import make_private_folder, write_private
from tests.support.commands import Machine

pytestmark = [pytest.mark.processes, pytest.mark.slow]
RUNS = b'{"runs": []}'


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> DemoRegion:
    return found(tmp_path_factory.mktemp("region"), nodes=("SG", "MY"))


@pytest.fixture
def place(region: DemoRegion) -> HubPlace:
    """A hub's folder as it stands after a while, every small file whole."""
    place, now = HubPlace(region.hub), clock.now()
    make_private_folder(place.runs)
    for kept in place.folder.rglob("*.damaged-*"):
        kept.unlink()
    write_memory(place.memory_file, StreamMemory(lost={"AUDIT_2026": 12}))
    place.erased_file.unlink(missing_ok=True)
    note_erased(place.erased_file, "AUDIT_2026", [3])
    write_suspensions(place.suspensions_file, Suspensions().suspend("MY", "stolen", now=now))
    believe(place.clock_file, clock.reading())
    for number in (1, 2):
        write_private(place.runs / f"gateway-{number}.json", RUNS)
    return place


def damage(path: Path) -> bytes:
    raw = path.read_bytes()
    path.write_bytes(raw[:1] + bytes([raw[1] ^ 1]) + raw[2:])
    return path.read_bytes()


def kept(path: Path) -> bytes:
    (aside,) = path.parent.glob(f"{path.name}.damaged-*")
    return aside.read_bytes()


def test_each_damaged_file_is_kept_aside_and_begun_anew(
    region: DemoRegion, place: HubPlace
) -> None:
    machine, runs = Machine(region.hub, region.passphrase_file), place.runs / "gateway-1.json"
    files = (place.memory_file, place.erased_file, place.suspensions_file, runs)
    damaged = {path: damage(path) for path in files}
    told = machine.good("hub", "mend")
    for words in ("hub suspend", "log resume --stream-reset", "hub status --looked-into"):
        assert words in " ".join(told.split())
    assert {path: kept(path) for path in files} == damaged
    assert read_memory(place.memory_file) == StreamMemory(begun_anew=True)
    assert read_erased(place.erased_file).streams == {}
    assert read_suspensions(place.suspensions_file) == Suspensions()
    assert not runs.exists()
    assert (place.runs / "gateway-2.json").read_bytes() == RUNS
    assert machine.refused("hub", "mend")[0] == "nothing-to-mend"
    machine.good("hub", "suspend", "MY", "--reason", "stolen")
    assert "MY" in read_suspensions(place.suspensions_file).in_force(clock.now())


def test_what_is_whole_is_left_alone(region: DemoRegion, place: HubPlace) -> None:
    machine = Machine(region.hub)
    before = read_memory(place.memory_file), read_suspensions(place.suspensions_file)
    assert machine.refused("hub", "mend")[0] == "nothing-to-mend"
    damage(place.erased_file)
    said = json.loads(machine.good("hub", "mend", "--json"))
    assert said["begun_anew"] == ["erased.json"]
    assert (read_memory(place.memory_file), read_suspensions(place.suspensions_file)) == before


def test_the_time_is_believed_on_a_persons_word_alone(region: DemoRegion, place: HubPlace) -> None:
    machine = Machine(region.hub)
    raw = damage(place.clock_file)
    done = machine.run("hub", "mend")
    assert (done.returncode, "--clock-is-right" in done.stdout) == (1, True)
    assert place.clock_file.read_bytes() == raw
    with pytest.raises(BrokerError):
        read_time(place.clock_file)
    machine.run("hub", "status", "--clock-is-right")
    assert is_believed(place.clock_file, clock.reading())


def test_a_hub_that_runs_is_stopped_first(region: DemoRegion, place: HubPlace) -> None:
    damage(place.suspensions_file)
    with place.locked():
        assert Machine(region.hub).refused("hub", "mend")[0] == "running-already"
    with pytest.raises(BrokerError):
        read_suspensions(place.suspensions_file)
