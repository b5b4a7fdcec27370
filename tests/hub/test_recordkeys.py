"""The record keys in the gateway's key store: made with the hub, replaced, kept, given up."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.hub.founding import init_hub
from broker.hub.place import GATEWAY_STORE, HUB_STORE, HubPlace
from broker.hub.recordkeys import KEPT_FOR, RECORD, give_up, record_keys, rotate
from broker.hub.settings import SMALL, HubConfig
from broker.log.errors import LogError
from broker.log.recordkeys import RecordKey
from broker.transport.streams import AUDIT_AGE
from keys.errors import KeyFileError
from keys.keystore import FLOOR_LOG2N, Entry, KeyStore

PASS = b"correct horse"
NOW = datetime(2026, 11, 15, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    found = HubPlace(tmp_path / "hub")
    init_hub(found.home, PASS, HubConfig(store=SMALL), now=NOW, log2n=FLOOR_LOG2N)
    return found


def store_of(place: HubPlace) -> Path:
    return place.keys / GATEWAY_STORE


def names(place: HubPlace) -> list[str]:
    entries = KeyStore.open(store_of(place), PASS).entries
    return sorted(name for name in entries if name.startswith(RECORD))


def test_a_new_hub_has_one_and_only_in_the_gateways_store(place: HubPlace) -> None:
    keys = place.open_gateway(PASS).records
    assert names(place) == [RECORD + keys.current.name.hex()]
    assert place.open_records(PASS).current == keys.current
    hubs = KeyStore.open(place.keys / HUB_STORE, PASS).entries
    assert not [name for name in hubs if name.startswith(RECORD)]
    raw = [path.read_bytes() for path in place.home.rglob("*") if path.is_file()]
    assert not [each for each in raw if keys.current.secret in each]


def test_a_hub_whose_gateway_is_elsewhere_opens_nothing_and_runs(place: HubPlace) -> None:
    there = place.open_gateway(PASS).records.current
    store_of(place).unlink()
    with pytest.raises(LogError) as caught:
        place.open_records(PASS).get(there.name)
    assert caught.value.code == "record-key-unknown"


def test_a_worker_that_runs_reads_the_next_one_without_a_restart(place: HubPlace) -> None:
    running = place.open_gateway(PASS).records
    old = running.current
    done = rotate(store_of(place), PASS, now=NOW + DAY)
    assert (done.kept, done.destroyed) == (1, 0)
    assert running.current == old  # until it meets the new one, or looks
    assert running.get(bytes.fromhex(done.name)).name.hex() == done.name
    assert running.current.name.hex() == done.name
    assert running.get(old.name) == old


def test_an_older_one_is_destroyed_once_nothing_under_it_is_kept(place: HubPlace) -> None:
    first = place.open_gateway(PASS).records.current
    second = rotate(store_of(place), PASS, now=NOW + 100 * DAY).name
    almost = rotate(store_of(place), PASS, now=NOW + 100 * DAY + KEPT_FOR)
    assert (almost.kept, almost.destroyed) == (2, 0)
    assert KEPT_FOR > AUDIT_AGE
    after = rotate(store_of(place), PASS, now=NOW + 101 * DAY + KEPT_FOR)
    assert (after.kept, after.destroyed) == (2, 1)
    assert RECORD + first.name.hex() not in names(place)
    assert RECORD + second in names(place)  # it ended only with the third
    with pytest.raises(LogError) as caught:
        place.open_gateway(PASS).records.get(first.name)
    assert caught.value.code == "record-key-unknown"


def test_by_a_clock_that_went_back_the_newest_one_seals(place: HubPlace) -> None:
    done = rotate(store_of(place), PASS, now=NOW - DAY)
    assert place.open_gateway(PASS).records.current.name.hex() == done.name
    again = rotate(store_of(place), PASS, now=NOW - 2 * DAY)
    assert place.open_gateway(PASS).records.current.name.hex() == again.name


def test_a_lost_one_is_given_up_by_its_name_and_one_that_is_here_is_not(place: HubPlace) -> None:
    running, lost = place.open_gateway(PASS).records, RecordKey.generate()
    for name, code in (
        (running.current.name.hex(), "exists"),
        ("rubbish", "bad-name"),
        ("00", "bad-name"),
        (lost.name.hex().upper(), "bad-name"),
    ):
        with pytest.raises(KeyFileError) as caught:
            give_up(store_of(place), PASS, name, now=NOW)
        assert caught.value.code == code
    give_up(store_of(place), PASS, lost.name.hex(), now=NOW)
    with pytest.raises(LogError) as unopened:
        running.get(lost.name)
    assert unopened.value.code == "record-key-lost"


def test_a_store_without_one_or_with_a_changed_one_is_not_used(place: HubPlace) -> None:
    store = KeyStore.open(store_of(place), PASS)
    (name,) = names(place)
    changed = Entry("symmetric", bytes(32), store.entries[name].facts)
    for put, destroy, code in (({name: changed}, [], "damaged"), ({}, [name], "no-record-key")):
        store.change(put, destroy=destroy)
        with pytest.raises(KeyFileError) as caught:
            record_keys(store)
        assert caught.value.code == code
    rotate(store_of(place), PASS, now=clock.now())  # as the sentence says that one does
    assert place.open_gateway(PASS).records.current
