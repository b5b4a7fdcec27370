"""Monthly keys: said in time when few are left, and destroyed when they must be."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.node.epochkeys import FEW, OVERDUE, destroy_past, key_alarms
from broker.node.present import Present
from keys.epochs import KEPT_AFTER, bounds, epoch_of, wanted
from keys.identity import STORE_NAME, MemberIdentity, create_identity, identity_in
from keys.keystore import FLOOR_LOG2N, KeyStore
from schemas.directory import RevocationReason
from tests.support.nodes import Clock
from tests.support.region import NOW, make_region

PASS = b"a passphrase of this test"
REGION = make_region(("SG", "MY"))


def at_month(number: int) -> datetime:
    """The middle of the month `number` months after the keys were made."""
    moment = bounds(epoch_of(NOW))[0]
    for _ in range(number):
        moment = bounds(epoch_of(moment))[1]
    return moment + timedelta(days=14)


@pytest.mark.parametrize(
    ("months", "codes"), [(0, []), (1, []), (2, [FEW]), (3, [FEW]), (4, [FEW])]
)
def test_an_alarm_says_when_fewer_than_two_months_are_published_ahead(
    months: int, codes: list[str]
) -> None:
    found = key_alarms(REGION.view, "SG", (), now=at_month(months))
    assert [alarm.code for alarm in found] == codes
    for alarm in found:  # made in November, with three months ahead
        assert alarm.detail == "until 2027-03-01: kentong keys rotate"


def test_a_key_that_was_revoked_counts_for_nothing() -> None:
    ended = {"revoked_at": NOW, "reason": RevocationReason.COMPROMISED}
    view = REGION.changed(
        "SG",
        document=lambda old: old.model_copy(
            update={
                "encryption_keys": (
                    *old.encryption_keys[:2],
                    *(key.model_copy(update=ended) for key in old.encryption_keys[2:]),
                )
            }
        ),
    )
    assert [alarm.code for alarm in key_alarms(view, "SG", (), now=NOW)] == [FEW]


def test_a_key_kept_too_long_is_named() -> None:
    last = epoch_of(NOW)
    end = bounds(last)[1] + KEPT_AFTER
    for now, codes in ((end - timedelta(seconds=1), [FEW]), (end, [FEW, OVERDUE])):
        found = key_alarms(REGION.view, "SG", [last], now=now)
        assert [alarm.code for alarm in found] == codes
    assert last in found[-1].detail


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("made")
    folder.chmod(0o700)
    create_identity(folder, PASS, "SG", now=NOW, log2n=FLOOR_LOG2N)
    return (folder / STORE_NAME).read_bytes()


@pytest.fixture
def store(made: bytes, tmp_path: Path) -> KeyStore:
    path = tmp_path / STORE_NAME
    path.write_bytes(made)
    path.chmod(0o600)
    return KeyStore.open(path, PASS)


def test_the_running_node_destroys_what_is_past_its_time_and_opens_with_it_no_more(
    store: KeyStore,
) -> None:
    clock, taken = Clock(), list[MemberIdentity]()
    present = Present("SG", now=clock)
    first, *later = wanted(NOW)
    clock.stopped = bounds(first)[1] + KEPT_AFTER - timedelta(seconds=1)
    destroy_past(present, store, taken.append)
    assert taken == []
    clock.stopped += timedelta(seconds=1)
    destroy_past(present, store, taken.append)
    assert sorted(taken[0].epochs.values()) == later
    assert set(taken[0].open_keys) == set(taken[0].epochs)
    reopened = identity_in(KeyStore.open(store.path, PASS))
    assert sorted(reopened.epochs.values()) == later
    destroy_past(present, store, taken.append)
    assert len(taken) == 1


def test_a_store_that_cannot_be_written_ends_no_node_and_leaves_the_alarm(store: KeyStore) -> None:
    clock, taken = Clock(), list[MemberIdentity]()
    clock.stopped = bounds(epoch_of(NOW))[1] + KEPT_AFTER
    store.path.unlink()
    destroy_past(Present("SG", now=clock), store, taken.append)
    assert taken == []
    kept = identity_in(store).epochs.values()
    found = key_alarms(REGION.view, "SG", kept, now=clock.stopped)
    assert OVERDUE in [alarm.code for alarm in found]
