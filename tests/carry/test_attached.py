"""Attached files by carry: whole at the other end, and nobody's word for it on the way."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.carry.attached import KnownFerries
from broker.carry.form import Header, Record, To, What, Writer, check_whole
from broker.client import Submission
from keys.kid import kid_of
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import SignKey
from schemas.attachment import CHUNK_BYTES
from schemas.desk import ArrivalState, RecipientState, SendingState
from tests.carry.stage import Crossing, crossing
from tests.carry.test_wrong_files import rewritten
from tests.support.processes import warning
from tests.support.waiting import until

CHUNKS = 3
GET, OPEN = "att.get:", "att.open:"


async def sent(stage: Crossing, code: str, path: Path, to: str) -> Submission:
    client = stage.clients[code]
    file = await client.attach(path)
    return await client.send(warning(1, (to,)).model_copy(update={"attachments": (file,)}))


async def sending(stage: Crossing, code: str, submission: Submission) -> SendingState:
    (file,) = (await stage.clients[code].status(submission.id)).shown.attachments
    return file.state


async def arrival(stage: Crossing, code: str) -> tuple[ArrivalState, int]:
    (item,) = (await stage.clients[code].inbox(limit=10)).items
    (file,) = item.attachments
    return file.state, file.have


async def saved(stage: Crossing, code: str, path: Path) -> bytes:
    (item,) = (await stage.clients[code].inbox(limit=10)).items
    await stage.clients[code].save_attachment(item.id, 1, path)
    return await asyncio.to_thread(path.read_bytes)


def damaged() -> Callable[[Record], list[Record]]:
    def change(record: Record) -> list[Record]:
        if not record.name.startswith(GET):
            return [record]
        raw = record.payload[:-40] + bytes([record.payload[-40] ^ 1]) + record.payload[-39:]
        return [Record(record.what, record.name, record.number, raw)]

    return change


def dropped() -> Callable[[Record], list[Record]]:
    return lambda record: [] if record.name.startswith(GET) else [record]


def swapped() -> Callable[[Record], list[Record]]:
    """Each chunk in the place of the one before it."""
    held: list[Record] = []

    def change(record: Record) -> list[Record]:
        if not record.name.startswith(GET):
            return [record]
        held.append(record)
        if len(held) == 1:
            return []
        before = held[-2]
        return [Record(record.what, before.name, record.number, record.payload)]

    return change


@pytest.mark.processes
@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_files_cross_both_ways_and_what_was_done_to_them_is_refused(tmp_path: Path) -> None:
    theirs_raw = random_bytes(CHUNKS * CHUNK_BYTES - 100)
    ours_raw = random_bytes(CHUNKS * CHUNK_BYTES)
    (tmp_path / "theirs").write_bytes(theirs_raw)
    (tmp_path / "ours").write_bytes(ours_raw)
    async with crossing(tmp_path / "r") as stage:
        theirs = await sent(stage, "MY", tmp_path / "theirs", "SG")
        ours = await sent(stage, "SG", tmp_path / "ours", "MY")

        async def uploaded() -> bool:
            return await sending(stage, "MY", theirs) is SendingState.UPLOADED

        await until(uploaded)
        await stage.to_hub()  # the alert
        first = await stage.to_node()  # its receipt, and theirs
        assert (first["alerts"], first["chunks"]) == (1, 0)
        assert await stage.states("SG", ours) <= {RecipientState.STORED, RecipientState.DELIVERED}
        assert await arrival(stage, "SG") == (ArrivalState.ARRIVING, 0)
        await stage.to_hub()  # the chunks, and what is asked for

        async def arrived() -> bool:
            return await arrival(stage, "MY") == (ArrivalState.COMPLETE, CHUNKS)

        await until(arrived)
        assert await saved(stage, "MY", tmp_path / "at-MY") == ours_raw
        assert await sending(stage, "SG", ours) is not SendingState.UPLOADED  # nobody said so yet

        came = tmp_path / "came.carry"
        await stage.at_ferry("out", "--to", str(came))
        for name, change in (
            ("dropped", dropped()),
            ("damaged", damaged()),
            ("swapped", swapped()),
        ):
            bad = rewritten(came, tmp_path / f"{name}.carry", change)
            assert (await stage.at_node("in", str(bad)))["chunks"] == 0
        assert await arrival(stage, "SG") == (ArrivalState.ARRIVING, 0)
        codes = {each.code for each in (await stage.clients["SG"].node_status()).alarms}
        assert "attachment-bad-chunk" in codes
        # Whoever wrote those files is no ferry of ours: on its word no file is deleted here.
        assert await sending(stage, "SG", ours) is not SendingState.UPLOADED

        good = await stage.at_node("in", str(came))
        assert good["chunks"] == CHUNKS
        assert (await stage.at_node("in", str(came)))["chunks"] == 0
        assert await saved(stage, "SG", tmp_path / "at-SG") == theirs_raw
        assert await sending(stage, "SG", ours) is SendingState.UPLOADED
        out = stage.region.home("SG") / "node" / "attachments" / "out"
        assert [path for path in out.rglob("*") if path.is_file()] == []
        await stage.to_hub()  # that all of it is here
        last = await stage.to_node()
        assert last["chunks"] == 0

        async def forgotten() -> bool:
            hub = stage.region.hub / "hub" / "attachments"
            return not [path for path in hub.rglob("0-*") if path.is_file()]

        await until(forgotten)


def test_only_a_ferry_that_this_node_made_is_believed(tmp_path: Path) -> None:
    known, ours, other = KnownFerries(tmp_path / "carry"), SignKey.generate(), SignKey.generate()
    known.add(SignKey.generate().public.raw)
    known.add(ours.public.raw)
    path = tmp_path / "file"
    for key, told, expected in ((ours, ours, True), (other, ours, False), (other, other, False)):
        with path.open("wb") as file:
            writer = Writer(file, Header(To.NODE, "SG", "ab" * 16, 1, hub_ms=1))
            writer.add(Record(What.ANSWER, f"{OPEN}{'0' * 64}", 0, b"\x80"))
            writer.end(kid_of(told.public.raw), key)
        with path.open("rb") as file:
            assert known.wrote(check_whole(file)) is expected
    with path.open("rb") as file:
        assert not KnownFerries(tmp_path / "nowhere").wrote(check_whole(file))
