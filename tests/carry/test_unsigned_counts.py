"""How often the hub gave something out is signed by nobody: it decides nothing at a node."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from broker import clock
from broker.carry.done import Done
from broker.carry.files import opened_copy
from broker.carry.form import CarryError, Header, Record, To, What, Writer
from broker.carry.taking import Taken, Taking
from broker.node.node import Node
from broker.transport.unlinked import Unlinked
from keys.directory.view import DirectoryView
from keys.primitives.hashing import sha256
from schemas.label import DirectoryVersion
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from tests.support.envelopes import decide, delivery, make
from tests.support.nodes import lonely_node
from tests.support.region import TestRegion, make_region

OFTEN = 99


def without_keys(region: TestRegion, *, sender: bool) -> DirectoryView:
    """The directory before the key of sender or gateway was in it."""
    if not sender:
        return replace(region.view, hub=region.view.hub.model_copy(update={"gateway_keys": ()}))
    none = lambda old: old.model_copy(update={"verification_keys": ()})  # noqa: E731
    return replace(region.changed("SG", document=none), version=region.view.version)


def newer(region: TestRegion) -> TestRegion:
    """The same region, one version of the directory later."""
    version = DirectoryVersion(root=1, snapshot=2, hash=sha256(b"the second snapshot"))
    return replace(region, view=replace(region.view, version=version))


async def carried(
    node: Node, folder: Path, *records: Record, hub_ms: int | None = None
) -> tuple[Taken, Done]:
    """Take a file that brings these and no directory."""
    path = folder / f"{secrets.token_hex(4)}.carry"
    now_ms = int(clock.now().timestamp() * 1000)
    with path.open("wb") as file:
        hub_ms = now_ms if hub_ms is None else hub_ms
        writer = Writer(file, Header(To.NODE, node.present.member, "id", now_ms, hub_ms=hub_ms))
        for record in records:
            writer.add(record)
        writer.end()
    place = folder / "carry"
    with opened_copy(path, place, member=node.present.member, to=To.NODE) as (file, whole):
        tell = lambda _done, _whole: None  # noqa: E731 - nobody looks
        done = Done(place)
        return await Taking(node, Unlinked(), done, file, whole.header, tell).run(), done


def copy_of(raw: bytes) -> Record:
    return Record(What.COPY, "normal", OFTEN, raw)


async def codes(node: Node) -> Sequence[str]:
    return [alarm.code for alarm in (await node.status()).alarms]


async def test_a_copy_under_a_key_newer_than_the_directory_waits_for_it(tmp_path: Path) -> None:
    old = make_region(("SG", "MY"), now=clock.now())
    new = newer(old)
    raw = delivery(new, make(new, ("MY",)).sealed.raw, "MY")
    async with lonely_node(old, "MY", tmp_path / "my.db") as my:
        my.present.take(without_keys(old, sender=True))
        for _ in range(2):  # however often it is carried
            taken, done = await carried(my, tmp_path, copy_of(raw))
            assert (taken.alerts, taken.quarantined, taken.left) == (0, 0, 1)
            assert sha256(raw) not in done.hashes
        my.present.take(new.view)
        taken, done = await carried(my, tmp_path, copy_of(raw))
        assert (taken.alerts, taken.quarantined, taken.left) == (1, 0, 0)
        assert sha256(raw) in done.hashes


async def test_a_copy_that_no_newer_directory_can_help_is_put_aside_at_once(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    raw = delivery(region, make(region, ("MY",)).sealed.raw, "MY")
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        my.present.take(without_keys(region, sender=True))
        taken, _ = await carried(my, tmp_path, Record(What.COPY, "normal", 1, raw))
        assert (taken.alerts, taken.quarantined, taken.left) == (0, 1, 0)
        assert await codes(my) == ["quarantined-unknown-key"]


async def test_a_receipt_under_a_key_newer_than_the_directory_waits_for_it(
    tmp_path: Path,
) -> None:
    old = make_region(("SG", "MY"), now=clock.now())
    new = newer(old)
    made = make(new, ("MY",))
    decision = decide(new, made.sealed.raw)
    raw = encode_receipt(DecisionReceipt(decision.to_bytes(), (("MY", Where.STORED),)))
    record = Record(What.RECEIPT, f"receipt.SG.{made.label.id}", OFTEN, raw)
    async with lonely_node(old, "SG", tmp_path / "sg.db") as sg:
        sg.present.take(without_keys(old, sender=False))
        taken, done = await carried(sg, tmp_path, record)
        assert (taken.receipts, taken.left, done.hashes) == (0, 1, ())
        sg.present.take(new.view)
        taken, done = await carried(sg, tmp_path, record)
        assert (taken.receipts, taken.left) == (1, 0)
        assert done.hashes == (sha256(raw),)


@pytest.mark.parametrize("hub_ms", [0, 253_402_300_799_999])
async def test_whatever_time_a_file_names_its_mail_is_taken(tmp_path: Path, hub_ms: int) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    raw = delivery(region, make(region, ("MY",)).sealed.raw, "MY")
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        taken, _ = await carried(my, tmp_path, copy_of(raw), hub_ms=hub_ms)
        assert (taken.alerts, taken.left) == (1, 0)


async def test_a_time_beyond_all_calendars_is_a_damaged_file(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        with pytest.raises(CarryError) as refused:
            await carried(my, tmp_path, hub_ms=2**63 - 1)
        assert refused.value.code == "carry-damaged"
