"""One alert that comes under two ids is one item; what differs in anything is another one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from broker import clock
from broker.gateway import record
from broker.log.rebuilt import decided_before
from broker.node import erasure, retention
from broker.node.node import Node
from broker.node.sealing import hurry
from broker.store import tables
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from schemas.attachment import Manifest
from schemas.desk import ArrivalState, InboxItem, RecipientState
from schemas.label import Label, Sender
from schemas.vocabulary import Precedence, Status
from tests.faults.test_reused_id import shorten_window
from tests.support.attachments import (
    a_file,
    handed,
    received,
    serving_attachments,
    until_here,
    until_sent,
)
from tests.support.envelopes import (
    Made,
    an_alert,
    delivery,
    label_for,
    make,
    seal_content,
    signed_content,
)
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, running_hub
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node, opened_node, request, running_node, send
from tests.support.region import TestRegion, make_region

MEMBERS = ("SG", "MY", "VN")


def sealed_again(
    region: TestRegion, made: Made, *, tail: int = 2, to: Sequence[str] | None = None
) -> Made:
    """The same, as its node seals it under another id, and perhaps for fewer of its audience."""
    again = uuid7_at(region.now, tail)
    label = Label.from_intent(made.label, id=again, directory=region.view.version)
    openings = made.audience.openings
    some = replace(made.audience, openings={code: openings[code] for code in to or openings})
    return Made(
        label, made.content, some, seal_content(region, label, made.content, some, counter=tail)
    )


def with_files(
    region: TestRegion,
    number: int = 1,
    **changes: Any,  # noqa: ANN401 - any field of the label
) -> Made:
    """An alert to MY with files, whose chunks are nowhere."""
    facts = make(region).label.facts.model_copy(update=ALL)
    label = label_for(region, an_alert(), facts=facts, **changes)
    manifest = Manifest("film.bin", "application/x-test", 1000, bytes(32))
    manifests = (manifest,) * number
    content, audience = signed_content(region, label, an_alert(), ("MY",), manifests=manifests)
    return Made(label, content, audience, seal_content(region, label, content, audience))


ALL = {"personal_data": True}


async def taken(node: Node, region: TestRegion, *mail: Made) -> tuple[InboxItem, ...]:
    """The inbox, once the node took these."""
    for made in mail:
        assert await node.incoming.take(delivery(region, made.sealed.raw, "MY"))
    return (await node.inbox()).items


async def count_of(node: Node, table: str) -> int:
    async with node.database.read() as connection:
        rows = await connection.execute(select(tables.metadata.tables[table]))
        return len(rows.all())


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_what_comes_under_two_ids_is_one_item_and_both_are_answered(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = make(region)
    both = [first, sealed_again(region, first)]
    one, two = (both[place] for place in order)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        (item,) = await taken(my, region, one, two, two, one, two)
        assert item.id == one.label.id
        assert (await my.item(two.label.id)).id == item.id  # as its sender calls it
        status = await my.status()
        assert (status.quarantined, status.alarms, status.gaps) == (0, (), ())
        assert await count_of(my, "numbers") == 2
        async with my.database.read() as connection:
            spoken = (await connection.execute(select(tables.controls.c.ref_id))).scalars()
            assert sorted(spoken) == sorted(str(made.label.id) for made in both)


DIFFERENT: dict[str, dict[str, Any]] = {
    "another sender": {"sender": Sender(member="VN", agency="POLICE")},
    "another text": {"alert": an_alert().model_copy(update={"national_ref": "X-2"})},
    "a corrected revision": {"rev": 2},
    "another alert_id": {"alert_id": UUID(int=6)},
    "signed twice": {},
    "other recipients": {"to": ("MY",)},
    "as an exercise": {"status": Status.EXERCISE},
    "more urgent": {"precedence": Precedence.FLASH},
}


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("what", DIFFERENT)
async def test_what_differs_is_never_folded(tmp_path: Path, what: str) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first, other = make(region), make(region, tail=2, **DIFFERENT[what])
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        items = await taken(my, region, first, other, first, other)
        assert [each.id for each in items] == [first.label.id, other.label.id]
        assert (await my.status()).quarantined == 0


def relabelled(region: TestRegion, first: Made) -> Label:
    changed = first.label.model_copy(update={"precedence": Precedence.FLASH})
    return Label.from_intent(changed, id=uuid7_at(region.now, 2), directory=region.view.version)


async def test_the_same_content_under_another_label_folds_into_nothing(tmp_path: Path) -> None:
    """A node that raised the precedence of what its officer signed: refused, as ever."""
    region = make_region(MEMBERS, now=clock.now())
    first = make(region)
    label = relabelled(region, first)
    sealed = seal_content(region, label, first.content, first.audience, counter=2)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        items = await taken(my, region, first, Made(label, first.content, first.audience, sealed))
        assert [each.id for each in items] == [first.label.id]
        assert [each.code for each in (await my.status()).alarms] == [
            "quarantined-officer-mismatch"
        ]


@pytest.mark.parametrize("then", [("MY", "VN"), ("VN", "MY")])
async def test_the_same_disclosed_recipients_are_no_news(
    tmp_path: Path, then: Sequence[str]
) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = make(region, disclose_recipients=True)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        (item,) = await taken(my, region, first, sealed_again(region, first, to=then))
        assert item.recipients == ("MY", "VN")


async def test_fewer_disclosed_recipients_are_another_item(tmp_path: Path) -> None:
    """To fold them would take a look into the item, which nobody may be made to pay for."""
    region = make_region(MEMBERS, now=clock.now())
    first = make(region, disclose_recipients=True)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        items = await taken(my, region, first, sealed_again(region, first, to=("MY",)))
        assert [each.recipients for each in items] == [("MY", "VN"), ("MY",)]


async def test_a_recipient_that_was_not_disclosed_before_is(tmp_path: Path) -> None:
    region = make_region(MEMBERS, now=clock.now())
    whole = make(region, disclose_recipients=True)
    fewer = sealed_again(region, whole, to=("MY",))
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        items = await taken(my, region, fewer, whole, fewer, whole)
        assert [each.recipients for each in items] == [("MY",), ("MY", "VN")]
        third = sealed_again(region, whole, tail=3)
        assert len(await taken(my, region, third)) == 2  # into the one that shows them


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("disclosed", [True, False])
async def test_an_item_that_the_disk_changed_stops_nothing_that_says_the_same(
    tmp_path: Path, *, disclosed: bool
) -> None:
    """Nothing is opened to find it: so it is neither a fault, nor dear where there are many."""
    region = make_region(MEMBERS, now=clock.now())
    first = make(region, disclose_recipients=disclosed)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        await taken(my, region, first)
        spoil = update(tables.inbox).values(sealed=bytes(100))
        await my.database.change(lambda connection: connection.execute(spoil))
        for tail, to in ((2, ("MY", "VN")), (3, ("MY",))):
            again = sealed_again(region, first, tail=tail, to=to)
            assert await my.incoming.take(delivery(region, again.sealed.raw, "MY"))
        assert await count_of(my, "inbox") == (2 if disclosed else 1)
        async with my.database.read() as connection:
            assert await my.incoming.controls.count(connection) == 3


@pytest.mark.usefixtures("databases")
async def test_what_was_folded_has_no_name_among_which_to_look(tmp_path: Path) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = make(region)
    more = [sealed_again(region, first, tail=tail) for tail in (2, 3, 4)]
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        (item,) = await taken(my, region, first, *more)
        table = tables.received
        async with my.database.read() as connection:
            named = await connection.execute(select(table.c.id).where(table.c.said.is_not(None)))
            assert list(named.scalars()) == [str(item.id)]


@pytest.mark.usefixtures("databases")
async def test_all_ids_of_an_item_are_destroyed_together_and_never_again(tmp_path: Path) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = make(region)
    more = [sealed_again(region, first, tail=tail) for tail in (2, 3, 4)]
    over = first.label.retention.delete_by
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        await taken(my, region, first, *more)
        assert await count_of(my, "retention") == 4
        await erasure.destroy(my.database, more[1].label.id)
        assert await count_of(my, "inbox") == 0
        assert await count_of(my, "retention") == 1
        assert await retention.destroy_due(my.database, None, over) == 1
        assert await count_of(my, "retention") == 0


async def test_other_bytes_under_the_id_of_what_was_folded_are_set_aside(tmp_path: Path) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = make(region)
    again = sealed_again(region, first)
    vn = make(region, ("MY",), tail=2, sender=Sender(member="VN", agency="POLICE"))
    assert vn.label.id == again.label.id
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        assert len(await taken(my, region, first, again, vn)) == 1
        assert [each.code for each in (await my.status()).alarms] == ["quarantined-id-reused"]


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("by", [0, 1])
async def test_by_either_id_all_of_it_is_destroyed_and_stays_so(tmp_path: Path, by: int) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = with_files(region)
    again = sealed_again(region, first)
    ident = (first, again)[by].label.id
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        await taken(my, region, first, again)
        assert await count_of(my, "arrivals") == 2
        assert await erasure.destroy(my.database, ident, my.arrivals.files) == 3
        assert await count_of(my, "inbox") == 0
        table = tables.arrivals
        async with my.database.read() as connection:
            wanted = select(table).where(table.c.chunks > 0)
            assert (await connection.execute(wanted)).all() == []
        third = sealed_again(region, first, tail=3)
        assert await taken(my, region, third) == ()
        async with my.database.read() as connection:
            assert (await connection.execute(wanted)).all() == []
            told = select(table.c.envelope_id).where(table.c.chunks == 0)
            assert str(third.label.id) in (await connection.execute(told)).scalars().all()
            assert await my.incoming.controls.count(connection) == 3


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("precedence", [Precedence.FLASH, Precedence.ROUTINE])
async def test_its_files_are_as_urgent_under_either_id(
    tmp_path: Path, precedence: Precedence
) -> None:
    region = make_region(MEMBERS, now=clock.now())
    first = with_files(region, precedence=precedence)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        await taken(my, region, first, sealed_again(region, first))
        async with my.database.read() as connection:
            found = (await connection.execute(select(tables.arrivals.c.urgent))).scalars().all()
    assert found == [int(precedence is Precedence.FLASH)] * 2


# What is said once more after a loss is news to a server that forgets within a moment.
FORGETFUL = ("SUBMIT_SG", "RECEIPT_SG", "INBOX_SG_control", "INBOX_MY_normal", "SUBMIT_MY")


async def refused_as_reused(own: Link, ident: UUID) -> None:
    """What a hub remembers of an id whose record it lost, once the log put it back."""
    subject = record.decided("SG", ident)
    stored = await own.get_last(record.stream_of(subject), subject)
    assert stored is not None
    await own.api(f"STREAM.MSG.DELETE.{record.stream_of(subject)}", {"seq": stored.seq})
    mark = decided_before(subject, SignKey.generate())
    await own.publish_acked(subject, mark, msg_id="put back", expect_last_subject_seq=0)


@pytest.mark.hub
@pytest.mark.usefixtures("databases")
async def test_its_sender_is_told_and_its_files_come_under_the_second_id(tmp_path: Path) -> None:
    """The hub loses the record and the receipt of an alert that is there already."""
    region, film = make_region(("SG", "MY"), now=clock.now()), a_file(2)
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub) as own,
        serving_attachments(hub, tmp_path / "chunks"),
        running_node(hub, "MY", tmp_path) as my,
    ):
        for stream in FORGETFUL:
            await shorten_window(own, stream)
        async with opened_node(hub, "SG", tmp_path) as sg:  # reads no receipt, nor MY's answer
            await sg.link.wait_connected(BOUND_S)
            file = await handed(sg, film)
            sent = await send(sg, region, request(region, ("MY",), attachments=(file,)))
            assert await sg.outgoing.seal_due() == 1
            assert await sg.outgoing.submit_due() == 1
            while not (await my.inbox()).items:  # noqa: ASYNC110 - each look is one at the database
                await asyncio.sleep(0.02)
        (item,) = (await my.inbox()).items
        assert [each.state for each in item.attachments] == [ArrivalState.ARRIVING]
        await refused_as_reused(own, item.id)
        while (await own.api("STREAM.INFO.INBOX_SG_control", {}))["state"]["messages"] < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for stream in ("RECEIPT_SG", "INBOX_SG_control"):
            await own.api(f"STREAM.PURGE.{stream}", {})
        async with running_node(hub, "SG", tmp_path) as sg:
            await sg.database.change(hurry)
            last = await until_sent(sg, sent)
        assert [each.state for each in last.recipients] == [RecipientState.DELIVERED]
        assert last.id != item.id
        await until_here(my, item.id)
        (only,) = (await my.inbox()).items
        assert (only.id, only.attachments[0].state) == (item.id, ArrivalState.COMPLETE)
        assert await received(my, item.id) == film
