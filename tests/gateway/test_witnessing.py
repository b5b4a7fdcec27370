"""A gateway goes on without witnesses for so long, then refuses for the time being."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.gateway.directory import DirectoryInForce
from broker.gateway.witnessing import LOOK_EVERY, Witnessing
from broker.store.witnessed import WitnessedAt
from keys.directory.view import DirectoryView
from schemas.directory import LogDocument, WitnessSet
from schemas.receipt import DecisionReceipt, TemporaryRefusal
from tests.support.envelopes import make
from tests.support.gateway import Source, mail, receipt, running_gateway, submit
from tests.support.hub import running_hub
from tests.support.region import NOW, TestRegion, make_region

HOUR = timedelta(hours=1)
LIMIT = 48 * HOUR


def witnessed(region: TestRegion, since: timedelta = 30 * 24 * HOUR) -> DirectoryView:
    """The region's directory once it names a log and its witnesses."""
    log = LogDocument(
        origin="log.example/kentong",
        ed25519=bytes(32),
        ml_dsa_44=bytes(1312),
        sequencer=bytes(32),
    )
    members = tuple(sorted(region.members))
    return replace(
        region.view,
        hub=region.view.hub.model_copy(update={"log": log}),
        witness_sets=(WitnessSet(since=region.now - since, members=members),),
    )


REGION = make_region()
VIEW = witnessed(REGION)


@pytest.fixture
def noted(tmp_path: Path) -> WitnessedAt:
    return WitnessedAt(tmp_path)


def test_it_is_unmet_after_the_limit_and_not_before(noted: WitnessedAt) -> None:
    noted.write(NOW)
    assert not Witnessing(noted, LIMIT).unmet(VIEW, NOW + LIMIT)
    assert Witnessing(noted, LIMIT).unmet(VIEW, NOW + LIMIT + timedelta(seconds=1))


def test_it_is_met_again_seconds_after_a_quorum_is(noted: WitnessedAt) -> None:
    noted.write(NOW - 50 * HOUR)
    witnessing = Witnessing(noted, LIMIT)
    assert witnessing.unmet(VIEW, NOW)
    noted.write(NOW)
    assert witnessing.unmet(VIEW, NOW + timedelta(seconds=1))  # not read for each submission
    assert not witnessing.unmet(VIEW, NOW + LOOK_EVERY)


@pytest.mark.parametrize(
    ("limit", "view"),
    [
        (timedelta(0), VIEW),
        (LIMIT, REGION.view),
        (LIMIT, replace(VIEW, witness_sets=())),
        (LIMIT, witnessed(REGION, since=HOUR)),
    ],
    ids=["never", "no-log", "no-witnesses", "a-new-set"],
)
def test_nothing_is_refused_where_nobody_need_witness(
    noted: WitnessedAt, limit: timedelta, view: DirectoryView
) -> None:
    noted.write(NOW - 1000 * HOUR)
    assert not Witnessing(noted, limit).unmet(view, NOW)


@pytest.mark.parametrize("raw", [None, b"", b"x", b"-1", b"9" * 400, b"\xff"])
def test_a_note_that_is_not_there_refuses_nothing(noted: WitnessedAt, raw: bytes | None) -> None:
    if raw is not None:
        (noted.folder / "witnessed").write_bytes(raw)
    assert not Witnessing(noted, LIMIT).unmet(VIEW, NOW)


async def test_the_sender_is_told_to_wait_and_the_same_bytes_pass_later(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    region = replace(region, view=witnessed(region))
    noted = WitnessedAt(tmp_path)
    noted.write(clock.now() - 49 * HOUR)
    witnessing = Witnessing(noted, LIMIT)
    directory = DirectoryInForce.read(Source(region.view), witnessing)
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub, directory=directory),
        hub.member_link("SG") as sg,
        hub.member_link("MY") as my,
    ):
        await sg.wait_connected(20)
        await my.wait_connected(20)
        made = make(region, ("MY",))
        await submit(sg, made)
        told = await receipt(sg)
        assert isinstance(told, TemporaryRefusal)
        assert told.code == "log-unwitnessed"
        noted.write(clock.now())
        witnessing.limit = 100 * HOUR  # and the file is not looked at for two seconds
        await submit(sg, made, attempt=2)
        assert isinstance(await receipt(sg), DecisionReceipt)
        await mail(my, "MY")
