"""What may happen to a file on its way: each has its code, and none loses or doubles anything."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker.carry.done import Done
from broker.carry.files import opened_copy
from broker.carry.form import Record, To, What, Writer, check_whole, records_in
from broker.carry.leaving import Left, compare_clocks, write_for_hub
from broker.carry.taking import Taken, Taking
from broker.cli.admin.node_place import NodePlace, opened_node
from broker.node.node import Node
from broker.transport.unlinked import Unlinked
from keys.directory.layout import TIMESTAMP_LASTS
from keys.primitives.hashing import sha256
from keys.primitives.signing import SignKey
from schemas.desk import RecipientState
from tests.carry.stage import Crossing, crossing
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600), pytest.mark.slow]


def rewritten(path: Path, to: Path, change: Callable[[Record], list[Record]]) -> Path:
    """What a carrier can make of a file who knows its form, but has no key."""
    with path.open("rb") as file, to.open("wb") as made:
        whole = check_whole(file)
        writer = Writer(made, whole.header)
        for _, record in records_in(file):
            for each in change(record):
                writer.add(each)
        writer.end(whole.kid, SignKey.generate() if whole.kid else None)
    return to


async def refused(stage: Crossing, home: Path, path: Path) -> str:
    code, found = await stage.carry(home, "in", str(path))
    assert code == 1, found
    return str(found["code"])


async def test_each_misfortune_of_a_file_is_named_and_changes_nothing(tmp_path: Path) -> None:
    async with crossing(tmp_path / "r") as stage:
        node, ferry = stage.region.home("SG"), stage.ferry
        theirs = await stage.send("MY", 1, ("SG",))
        ours = await stage.send("SG", 2, ("MY",))

        async def stored() -> bool:
            return await stage.states("MY", theirs) == {RecipientState.STORED}

        await until(stored)
        came, bad = tmp_path / "came.carry", tmp_path / "bad.carry"
        await stage.at_ferry("out", "--to", str(came))
        raw = came.read_bytes()
        bad.write_bytes(raw[: len(raw) // 2])
        assert await refused(stage, node, bad) == "carry-damaged"
        bad.write_bytes(raw[:-400] + bytes([raw[-400] ^ 1]) + raw[-399:])
        assert await refused(stage, node, bad) == "carry-damaged"
        bad.write_bytes(b"something else")
        assert await refused(stage, node, bad) == "carry-no-file"
        assert await refused(stage, ferry, came) == "carry-wrong-way"
        assert await refused(stage, node, _for(came, bad, "VN")) == "carry-other-member"
        assert await stage.inbox("SG") == {}

        # A carrier changes the sealed copy and makes the file whole again.
        damaged = rewritten(came, bad, _one_bit)
        taken = await stage.at_node("in", str(damaged))
        assert (taken["alerts"], taken["quarantined"]) == (0, 1)
        # He takes every file of the directory out: the node keeps what it holds.
        bare = rewritten(came, bad, lambda each: [] if each.what is What.ANSWER else [each])
        taken = await stage.at_node("in", str(bare))
        assert (taken["alerts"], taken["directory"]) == (1, "directory-unreachable")

        # This file of the node is lost; the next holds all of it.
        lost = tmp_path / "lost.carry"
        one = await stage.at_node("out", "--to", str(lost))
        code, found = await stage.carry(node, "out", "--to", str(lost))
        assert (code, found["code"]) == (1, "exists")
        left = tmp_path / "left.carry"
        other = await stage.at_node("out", "--to", str(left))
        assert other["envelopes"] == one["envelopes"] >= 1
        assert other["done"] == one["done"] >= 1

        # Nobody but the node says what the hub may forget.
        def forged(record: Record) -> list[Record]:
            if record.what is What.DONE:
                return [replace(record, payload=record.payload + sha256(b"another"))]
            return [record]

        assert await refused(stage, ferry, rewritten(left, bad, forged)) == "carry-unsigned"
        kept = await stage.at_ferry("out", "--to", str(tmp_path / "kept.carry"))
        assert (kept["released"], kept["copies"] > 0) == (0, True)
        assert await stage.inbox("MY") == {}

        await stage.at_ferry("in", str(left))
        found = await stage.at_ferry("in", str(lost))  # found after all
        assert found["newest"] is False

        async def there() -> bool:
            return await stage.inbox("MY") == {str(ours.alert_id): 1}

        await until(there)
        back = await stage.to_node()
        assert back["alerts"] == 0
        older = await stage.at_node("in", str(came))  # made before all of this
        assert (older["alerts"], older["directory"] in {"rollback", "taken"}) == (0, True)
        assert await stage.inbox("SG") == {str(theirs.alert_id): 1}
        assert await stage.states("SG", ours) <= {RecipientState.STORED, RecipientState.DELIVERED}


async def test_a_directory_of_an_hour_ago_opens_what_came_and_seals_nothing(
    tmp_path: Path,
) -> None:
    async with crossing(tmp_path / "r") as stage:
        theirs = await stage.send("MY", 1, ("SG",))
        await stage.send("SG", 2, ("MY",))

        async def stored() -> bool:
            return await stage.states("MY", theirs) == {RecipientState.STORED}

        await until(stored)
        came = tmp_path / "came.carry"
        await stage.at_ferry("out", "--to", str(came))
        place = NodePlace(stage.region.home("SG"))
        folder = place.folder / "carry"
        async with opened_node(place, stage.region.passphrase, link=Unlinked()) as opened:
            present = opened.node.present
            early = await _left(opened.node, folder, tmp_path / "early.carry")
            assert (early.queued, early.hindrance) == (0, "")
            now = present.now
            present.now = lambda: now() + TIMESTAMP_LASTS
            assert present.hindrance() == "directory-expired"
            taken = await _taken(opened.node, folder, came)
            assert (taken.alerts, taken.directory) == (1, "")
            assert present.hindrance() == "directory-expired"
        await stage.send("SG", 3, ("MY",))
        async with opened_node(place, stage.region.passphrase, link=Unlinked()) as opened:
            present = opened.node.present
            present.now = lambda: now() + TIMESTAMP_LASTS
            late = await _left(opened.node, folder, tmp_path / "late.carry")
            assert (late.envelopes, late.queued) == (early.envelopes, 1)
            assert late.hindrance == "directory-expired"
            # What a clock that is ahead writes would be the newest file for as long as it is ahead.
            ahead, after = tmp_path / "ahead.carry", timedelta(minutes=10)
            present.now = lambda: now() + after
            await _left(opened.node, folder, ahead)
            assert await refused(stage, stage.ferry, ahead) == "carry-clock-ahead"
            found = await stage.at_ferry("in", str(tmp_path / "early.carry"))
            assert found["newest"] is True
            # A clock that is behind what the hub has signed is not believed either.
            present.now = lambda: now() - TIMESTAMP_LASTS
            compare_clocks(present)
            assert present.hindrance() == "clock-skew"


async def test_a_ferry_whose_time_is_over_reaches_nothing(tmp_path: Path) -> None:
    async with crossing(tmp_path / "r") as stage:
        config = stage.ferry / "ferry" / "config.toml"
        text = config.read_text("utf-8")
        (line,) = [each for each in text.splitlines() if each.startswith("expires")]
        config.write_text(text.replace(line, "expires = 1"), "utf-8")
        code, found = await stage.carry(stage.ferry, "out", "--to", str(tmp_path / "none"))
        assert (code, found["code"]) == (1, "ferry-expired")
        shutil.rmtree(stage.ferry / "ferry")
        code, found = await stage.carry(stage.ferry, "out", "--to", str(tmp_path / "none"))
        assert (code, found["code"]) == (1, "no-node")
        assert not (tmp_path / "none").exists()


def _for(path: Path, to: Path, member: str) -> Path:
    with path.open("rb") as file, to.open("wb") as made:
        whole = check_whole(file)
        writer = Writer(made, replace(whole.header, member=member))
        for _, record in records_in(file):
            writer.add(record)
        writer.end()
    return to


def _one_bit(record: Record) -> list[Record]:
    if record.what is not What.COPY or record.name == "control":
        return [record]
    raw, at = record.payload, len(record.payload) // 2  # in what is sealed
    return [replace(record, payload=raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])]


async def _left(node: Node, folder: Path, path: Path) -> Left:
    return await write_for_hub(node, Done(folder), path, lambda _done, _whole: None)


async def _taken(node: Node, folder: Path, path: Path) -> Taken:
    assert isinstance(node.link, Unlinked)
    with opened_copy(path, folder, member="SG", to=To.NODE) as (file, whole):
        tell = lambda _done, _whole: None  # noqa: E731 - nobody looks
        return await Taking(node, node.link, Done(folder), file, whole.header, tell).run()
