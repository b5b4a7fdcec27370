"""Files that follow their alert: two nodes, a gateway, the hub's service and a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.hub.attachments import AttachmentService
from broker.node import erasure
from broker.node.errors import NodeError
from broker.node.ids import from_ms
from broker.node.node import Node
from broker.node.repeats import KEPT
from broker.node.sealing import hurry
from broker.node.vault import Vault
from broker.store import tables
from schemas.desk import (
    ArrivalState,
    AttachmentRequest,
    AttachmentShown,
    RecipientState,
    SendingState,
    Submission,
)
from schemas.policy import PolicyDocument
from schemas.vocabulary import Lane, Precedence
from tests.support.attachments import (
    FILLING,
    a_file,
    code_of,
    fill,
    handed,
    named,
    received,
    serving_attachments,
    until_here,
    until_sent,
)
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, running_node, send
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases"), pytest.mark.slow]


@dataclass
class Stage:
    """SG at work; MY is driven by the test, so that it fetches when it is told to."""

    region: TestRegion
    hub: RunningHub
    service: AttachmentService
    folder: Path
    sg: Node

    @property
    def chunks(self) -> Path:
        return self.folder / "chunks" / "SG"

    async def sent(
        self,
        *contents: bytes,
        to: tuple[str, ...] = ("MY",),
        precedence: Precedence = Precedence.ROUTINE,
    ) -> Submission:
        """An alert with files, all of them at the hub."""
        files = tuple([await handed(self.sg, each, f"{n}.bin") for n, each in enumerate(contents)])
        asked = request(self.region, to, attachments=files, precedence=precedence)
        return await self.handed_in(await send(self.sg, self.region, asked))

    async def handed_in(self, submission: Submission, node: Node | None = None) -> Submission:
        """The submission once all its files are at the hub, whatever its recipients say."""
        sender = node or self.sg
        while not all(each.state.final for each in submission.attachments):
            ticket = sender.changes.ticket()
            submission = await sender.submission(submission.submission_id)
            if not all(each.state.final for each in submission.attachments):
                await ticket.wait()
        return submission

    def chunk(self, submission: Submission, index: int, number: int = 0) -> Path:
        return self.chunks / str(submission.id) / f"{number}-{index:05d}"


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    th = PolicyDocument(format=1, member="TH", title="TH takes nothing")
    region = make_region(("SG", "MY", "TH", "VN"), now=clock.now(), policies={"TH": th})
    async with running_hub(region, tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def stage(hub: RunningHub, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * BOUND_S))
        await stack.enter_async_context(running_gateway(hub))
        service = await stack.enter_async_context(serving_attachments(hub, tmp_path / "chunks"))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        yield Stage(hub.region, hub, service, tmp_path, sg)


async def mailed(node: Node, item_id: UUID, lane: Lane = Lane.NORMAL) -> bytes:
    """Let a driven node take in its mail until it has this alert; return the copy."""
    await node.link.wait_connected(BOUND_S)
    payload = b""
    inbox = f"INBOX_{node.present.member}_{lane}"
    while True:
        for message in await node.link.pull(inbox, str(lane), batch=8, timeout_s=5):
            payload = message.payload
            assert await node.incoming.take(payload)
            await message.ack()
        async with node.database.read() as connection:
            known = select(tables.inbox.c.id).where(tables.inbox.c.id == str(item_id))
            if (await connection.execute(known)).first() is not None:
                return payload


async def fetched(node: Node, item_id: UUID, number: int = 1) -> AttachmentShown:
    """Fetch until nothing more comes; return how the file stands."""
    while await node.arrivals.fetch_due():
        pass
    item = await node.item(item_id)
    return item.attachments[number - 1]


def ident_of(submission: Submission) -> UUID:
    assert submission.id is not None
    return submission.id


async def test_files_follow_their_alert_byte_for_byte_and_leave_nothing_behind(
    stage: Stage,
) -> None:
    first, second = a_file(3), a_file(1, spare=0)
    async with running_node(stage.hub, "MY", stage.folder) as my:
        files = (await handed(stage.sg, first, "a.bin"), await handed(stage.sg, second, "b.bin"))
        asked = request(stage.region, ("MY",), attachments=files)
        submission = await send(stage.sg, stage.region, asked)
        last = await until_sent(stage.sg, submission)
        assert [each.state for each in last.attachments] == [SendingState.UPLOADED] * 2
        ident = ident_of(last)
        await until_here(my, ident)
        item = await my.item(ident)
        assert [(each.name, each.state) for each in item.attachments] == [
            ("a.bin", ArrivalState.COMPLETE),
            ("b.bin", ArrivalState.COMPLETE),
        ]
        assert item.label["facts"]["personal_data"] is True  # type: ignore[index,call-overload]
        assert await received(my, ident, 1) == first
        assert await received(my, ident, 2) == second
        assert await received(my, ident, 1, start=300_000) == first[300_000:]
        assert await received(my, ident, 1, start=len(first)) == b""
        assert (await my.inbox()).items[0].attachments == item.attachments
        async with asyncio.timeout(BOUND_S):  # it may be about to tell the hub by itself
            while [path.name for path in (stage.chunks / str(ident)).iterdir()] != ["head"]:  # noqa: ASYNC110 - another task
                await asyncio.sleep(0.02)
        await stage.sg.uploads.forget_over()
        assert list((stage.folder / "SG-attachments" / "out").iterdir()) == []


async def test_an_urgent_alert_is_there_before_its_file(stage: Stage) -> None:
    stage.sg.uploads.link = stage.hub.member_link("SG")  # never connected: no chunk goes
    async with running_node(stage.hub, "MY", stage.folder) as my:
        file = await handed(stage.sg, a_file(2))
        asked = request(stage.region, ("MY",), attachments=(file,), precedence=Precedence.FLASH)
        submission = await send(stage.sg, stage.region, asked)
        async for item in my.subscribe():
            (shown,) = item.attachments
            assert (shown.state, shown.have, shown.chunks) == (ArrivalState.ARRIVING, 0, 2)
            break
        while (last := await stage.sg.submission(submission.submission_id)).recipients[
            0
        ].state is not RecipientState.DELIVERED:
            await stage.sg.changes.ticket().wait()
        with pytest.raises(NodeError, match="0 of 2") as caught:
            await my.attachment(ident_of(last), 1)
        assert (caught.value.code, caught.value.retry) == ("attachment-arriving", "later")


# --- what the hub, or its disk, does to chunks ---


def _swap(stage: Stage, sent: Submission) -> None:
    one, two = stage.chunk(sent, 0), stage.chunk(sent, 1)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _repeat(stage: Stage, sent: Submission) -> None:
    stage.chunk(sent, 1).write_bytes(stage.chunk(sent, 0).read_bytes())


def _cut_short(stage: Stage, sent: Submission) -> None:
    path = stage.chunk(sent, 1)
    path.write_bytes(path.read_bytes()[:-1])


def _empty(stage: Stage, sent: Submission) -> None:
    stage.chunk(sent, 1).write_bytes(b"")


def _alter(stage: Stage, sent: Submission) -> None:
    path = stage.chunk(sent, 1)
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)


def _last_too_early(stage: Stage, sent: Submission) -> None:
    stage.chunk(sent, 1).write_bytes(stage.chunk(sent, 2).read_bytes())


def _of_another_file(stage: Stage, sent: Submission) -> None:
    stage.chunk(sent, 1).write_bytes(stage.chunk(sent, 1, number=1).read_bytes())


HOSTILE: dict[str, Callable[[Stage, Submission], None]] = {
    "swapped": _swap,
    "repeated": _repeat,
    "cut": _cut_short,
    "emptied": _empty,
    "altered": _alter,
    "the last one too early": _last_too_early,
    "of another file": _of_another_file,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_wrong_chunk_is_refused_said_and_fetched_again(stage: Stage, name: str) -> None:
    first, second = a_file(3), a_file(3)
    sent = await stage.sent(first, second)
    good = {path: path.read_bytes() for path in (stage.chunks / str(sent.id)).iterdir()}
    HOSTILE[name](stage, sent)
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await mailed(my, ident_of(sent))
        shown = await fetched(my, ident_of(sent))
        assert (shown.state, shown.code) == (ArrivalState.ARRIVING, "bad-chunk")
        assert shown.have == (0 if name == "swapped" else 1)  # what was good before it stays
        kept = sorted(path.name for path in (stage.folder / "MY-attachments").rglob("0-*"))
        assert kept == (["0-00000"] if shown.have else [])
        alarms = {alarm.code: alarm for alarm in (await my.status()).alarms}
        assert alarms["attachment-bad-chunk"].peer == "SG"
        assert await code_of(my.attachment(ident_of(sent), 1)) == "attachment-arriving"
        for path, raw in good.items():
            path.write_bytes(raw)
        now.ahead = timedelta(minutes=2)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent), 1) == first


async def test_a_chunk_of_another_envelope_is_refused(stage: Stage) -> None:
    """The very same file, sent twice: its chunks cannot stand in for each other."""
    content = a_file(2)
    one, two = await stage.sent(content), await stage.sent(content)
    stage.chunk(two, 0).write_bytes(stage.chunk(one, 0).read_bytes())
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(two))
        assert (await fetched(my, ident_of(two))).code == "bad-chunk"
        assert (await fetched(my, ident_of(one))).state is ArrivalState.COMPLETE


async def test_a_dropped_chunk_is_waited_for_and_never_left_out(stage: Stage) -> None:
    content = a_file(3)
    sent = await stage.sent(content)
    dropped = stage.chunk(sent, 1).read_bytes()
    stage.chunk(sent, 1).unlink()
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await mailed(my, ident_of(sent))
        shown = await fetched(my, ident_of(sent))
        assert (shown.state, shown.have, shown.code) == (ArrivalState.ARRIVING, 1, "")
        stage.chunk(sent, 1).write_bytes(dropped)
        now.ahead = timedelta(minutes=2)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent)) == content


async def test_chunks_beyond_the_manifest_are_never_asked_for(stage: Stage) -> None:
    sent = await stage.sent(a_file(2))
    stage.chunk(sent, 2).write_bytes(stage.chunk(sent, 1).read_bytes())
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(sent))
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        kept = [path.name for path in (stage.folder / "MY-attachments").rglob("0-*")]
        assert sorted(kept) == ["0-00000", "0-00001"]


async def test_a_file_that_is_not_the_one_signed_is_refused_whole(stage: Stage) -> None:
    """A sender whose node sealed other bytes than the officer signed, chunk by chunk in order."""
    content = a_file(2)
    file = await handed(stage.sg, content)
    lie = named(content).model_copy(update={"sha256": bytes(32)})
    request_ = AttachmentRequest.model_validate(lie.model_dump(exclude={"attachment_id"}))
    ident = str(file.attachment_id)
    vault = Vault(stage.region.members["SG"].storage_key)
    sealed = vault.seal(request_.model_dump_json().encode(), name=f"attachment/{ident}")

    async def change(connection: object) -> None:
        table = tables.attachments
        await connection.execute(  # type: ignore[attr-defined]
            update(table).where(table.c.id == ident).values(sealed=sealed)
        )

    await stage.sg.database.change(change)
    asked = request(
        stage.region, ("MY",), attachments=(file.model_copy(update={"sha256": bytes(32)}),)
    )
    submission = await send(stage.sg, stage.region, asked)
    async with running_node(stage.hub, "MY", stage.folder) as my:
        last = await until_sent(stage.sg, submission)
        await until_here(my, ident_of(last))
        (shown,) = (await my.item(ident_of(last))).attachments
        assert (shown.state, shown.code) == (ArrivalState.REFUSED, "attachment-mismatch")
        assert await code_of(my.attachment(ident_of(last), 1)) == "attachment-mismatch"
        assert "attachment-mismatch" in {alarm.code for alarm in (await my.status()).alarms}
        assert list((stage.folder / "MY-attachments").rglob("0-*")) == []


# --- what nobody wants ---

NOTHING = PolicyDocument(format=1, member="MY", title="MY takes nothing any more")


async def one_mail(node: Node) -> bytes:
    """The next copy of a driven node, taken off the hub and not read yet."""
    await node.link.wait_connected(BOUND_S)
    while True:
        for message in await node.link.pull("INBOX_MY_normal", "normal", batch=1, timeout_s=5):
            await message.ack()
            return message.payload


async def refused(stage: Stage, my: Node) -> bytes:
    """The copy that MY refuses by a policy which the gateway has not seen yet."""
    raw = await one_mail(my)
    my.present.take(stage.region.changed("MY", policy=NOTHING))
    assert await my.incoming.take(raw)
    assert (await my.status()).quarantined == 1
    return raw


async def test_chunks_go_once_each_recipient_has_refused_the_alert_or_has_them(
    stage: Stage,
) -> None:
    content = a_file(2)
    sent = await stage.sent(content, to=("MY", "VN"))
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await refused(stage, my)
        await my.arrivals.tell_due()
    assert stage.chunk(sent, 1).exists()  # VN has not fetched it yet
    async with opened_node(stage.hub, "VN", stage.folder) as vn:
        await mailed(vn, ident_of(sent))
        assert (await fetched(vn, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(vn, ident_of(sent)) == content
        await vn.arrivals.tell_due()
    assert_gone(stage, sent)


def assert_gone(stage: Stage, sent: Submission) -> None:
    assert [path.name for path in stage.chunk(sent, 0).parent.iterdir()] == ["head"]


async def test_a_refusal_before_the_file_was_handed_in_is_told_again(stage: Stage) -> None:
    await fill(stage.service, "SG", "MY")
    file = await handed(stage.sg, a_file(2))
    asked = request(stage.region, ("MY",), attachments=(file,))
    submission = await send(stage.sg, stage.region, asked)
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await refused(stage, my)
        await my.arrivals.tell_due()  # the hub knows of no files yet
        await stage.service.store.remove("SG", FILLING)

        async def at_once(connection: object) -> None:
            await connection.execute(update(tables.uploads).values(due_ms=0))  # type: ignore[attr-defined]

        await stage.sg.database.change(at_once)
        last = await stage.handed_in(submission)
        assert stage.chunk(last, 1).exists()
        await my.arrivals.tell_due()
        assert stage.chunk(last, 1).exists()  # too soon to ask the hub again
        now.ahead = timedelta(minutes=1)
        await my.arrivals.tell_due()
        assert_gone(stage, last)
        async with my.database.read() as connection:
            assert (await connection.execute(select(tables.arrivals))).all() == []


async def test_what_the_hub_never_knew_of_is_told_ever_more_rarely_until_its_time_is_over(
    stage: Stage,
) -> None:
    submission = await send(stage.sg, stage.region, request(stage.region, ("MY",)))
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await refused(stage, my)
        waits = []
        for ahead in (timedelta(0), timedelta(hours=2), timedelta(days=5)):
            now.ahead = ahead
            await my.arrivals.tell_due()
            async with my.database.read() as connection:
                (due_ms,) = (await connection.execute(select(tables.arrivals.c.due_ms))).scalars()
            waits.append(round((due_ms / 1000 - now().timestamp()) / 60))
        assert waits[0] <= 1
        assert 55 <= waits[1] <= 65
        assert waits[2] == 12 * 60
        now.ahead = timedelta(days=91)
        await my.arrivals.tell_due()
        async with my.database.read() as connection:
            assert (await connection.execute(select(tables.arrivals))).all() == []
    assert submission.attachments == ()


async def test_a_damaged_copy_gives_up_no_file(stage: Stage) -> None:
    """Its sender is told that it was refused; the true copy still comes, and its file with it."""
    content = a_file(2)
    sent = await stage.sent(content)
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        raw = await one_mail(my)
        damaged = bytearray(raw)
        damaged[len(raw) // 2] ^= 1
        assert await my.incoming.take(bytes(damaged))
        assert (await my.status()).quarantined == 1
        await my.arrivals.tell_due()
        assert stage.chunk(sent, 1).exists()
        assert await my.incoming.take(raw)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE


async def test_an_alert_refused_once_and_accepted_later_awaits_its_file(stage: Stage) -> None:
    content = a_file(2)
    sent = await stage.sent(content)
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        raw = await refused(stage, my)
        my.present.take(stage.region.view)
        assert await my.incoming.take(raw)  # before the hub was told of the refusal
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent)) == content


async def test_what_is_destroyed_before_it_was_fetched_leaves_the_hub_too(stage: Stage) -> None:
    sent = await stage.sent(a_file(3))
    stage.chunk(sent, 2).rename(stage.folder / "late")
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(sent))
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.ARRIVING
        assert await erasure.destroy(my.database, ident_of(sent), my.arrivals.files) >= 2
        assert await erasure.destroy(my.database, ident_of(sent), my.arrivals.files) == 0
        assert [place[0] for place in my.arrivals._watched] == [str(sent.id)]
        await my.arrivals.forget_unknown()
        assert my.arrivals._watched == {}
        await my.arrivals.tell_due()
        assert_gone(stage, sent)


# --- killed and started again ---


async def test_a_sender_killed_half_way_goes_on_there(hub: RunningHub, tmp_path: Path) -> None:
    content = a_file(12)
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_gateway(hub),
        serving_attachments(hub, tmp_path / "chunks") as service,
        running_node(hub, "MY", tmp_path) as my,
    ):
        puts: list[int] = []
        enough = asyncio.Event()
        keep = service.store.keep

        async def counted(sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
            await keep(sender, ident, number, index, raw)
            puts.append(index)
            if len(puts) == 5:
                enough.set()

        service.store.keep = counted  # type: ignore[method-assign]
        async with running_node(hub, "SG", tmp_path) as sg:
            file = await handed(sg, content)
            asked = request(hub.region, ("MY",), attachments=(file,))
            submission = await send(sg, hub.region, asked)
            await enough.wait()
        before = len(puts)
        assert before < 12
        async with running_node(hub, "SG", tmp_path) as sg:  # another process, as it were
            last = await until_sent(sg, submission)
            assert last.attachments[0].state is SendingState.UPLOADED
        assert len(puts) == 12  # none was sent twice
        assert sorted(puts) == list(range(12))
        await until_here(my, ident_of(last))
        assert await received(my, ident_of(last)) == content


async def test_a_recipient_killed_half_way_goes_on_there(stage: Stage) -> None:
    content = a_file(12)
    sent = await stage.sent(content)
    asked: list[int] = []
    read = stage.service.store.chunk

    async def counted(sender: str, ident: UUID, number: int, index: int) -> bytes | None:
        asked.append(index)
        return await read(sender, ident, number, index)

    stage.service.store.chunk = counted  # type: ignore[method-assign]
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(sent))
        for _ in range(3):
            await my.arrivals.fetch_due()
    half = len(asked)
    assert 0 < half < 12
    (stage.folder / "MY-attachments" / "in" / str(sent.id) / ".0-00009.x").write_bytes(b"half")
    async with running_node(stage.hub, "MY", stage.folder) as my:
        await until_here(my, ident_of(sent))
        assert await received(my, ident_of(sent)) == content
    assert sorted(asked) == list(range(12))
    assert list((stage.folder / "MY-attachments").rglob(".0*")) == []


async def test_a_hub_killed_half_way_and_a_line_that_broke_are_waited_for(
    hub: RunningHub, tmp_path: Path
) -> None:
    content = a_file(12)
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_gateway(hub),
        running_node(hub, "SG", tmp_path) as sg,
        running_node(hub, "MY", tmp_path) as my,
    ):
        async with serving_attachments(hub, tmp_path / "chunks") as service:
            enough = asyncio.Event()
            keep = service.store.keep

            async def some(sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
                await keep(sender, ident, number, index, raw)
                if index == 3:
                    enough.set()

            service.store.keep = some  # type: ignore[method-assign]
            file = await handed(sg, content)
            asked = request(hub.region, ("MY",), attachments=(file,))
            submission = await send(sg, hub.region, asked)
            await enough.wait()
        await hub.restart()  # the server as well: every connection breaks
        async with serving_attachments(hub, tmp_path / "chunks"):
            last = await until_sent(sg, submission)
            await until_here(my, ident_of(last))
            assert await received(my, ident_of(last)) == content


def _changed(chunk: Path) -> None:
    chunk.write_bytes(bytes(SEALED_CHUNK_BYTES))


def _unreadable(chunk: Path) -> None:
    """A folder at its place: reading fails, and by it nothing is learnt of what was there."""
    chunk.unlink()
    chunk.symlink_to(chunk.parent)


@pytest.mark.parametrize("spoil", [_changed, _unreadable])
async def test_a_chunk_that_the_recipients_disk_does_not_give_back_is_fetched_again(
    stage: Stage, spoil: Callable[[Path], None]
) -> None:
    content = a_file(6)
    sent = await stage.sent(content)
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await mailed(my, ident_of(sent))
        await my.arrivals.fetch_due()
        (path,) = (stage.folder / "MY-attachments").rglob("0-00000")
        spoil(path)
        shown = await fetched(my, ident_of(sent))
        assert (shown.state, shown.code) == (ArrivalState.ARRIVING, "bad-chunk")
        assert "attachment-bad-chunk" in {alarm.code for alarm in (await my.status()).alarms}
        now.ahead = timedelta(minutes=2)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent)) == content


async def test_what_stands_unreadable_where_a_chunk_belongs_gives_way(stage: Stage) -> None:
    content = a_file(6)
    sent = await stage.sent(content)
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(sent))
        await my.arrivals.fetch_due()
        (path,) = (stage.folder / "MY-attachments").rglob("0-00000")
        path.with_name("0-00005").symlink_to(path.parent)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent)) == content


async def test_a_file_whose_chunks_the_disk_keeps_back_delays_no_other(stage: Stage) -> None:
    stuck, content = await stage.sent(a_file(6)), a_file(6)
    other = await stage.sent(content)
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(stuck))
        await mailed(my, ident_of(other))
        shelf = stage.folder / "MY-attachments" / "in" / str(ident_of(stuck))
        shelf.parent.mkdir(mode=0o700, parents=True)
        shelf.symlink_to(shelf)  # a circle: listing it fails
        assert (await fetched(my, ident_of(other))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(other)) == content
        assert "attachment-disk-failed" in {alarm.code for alarm in (await my.status()).alarms}


# --- whose turn it is ---


async def test_an_urgent_alerts_file_has_every_second_turn_and_no_more(stage: Stage) -> None:
    films = [await stage.sent(a_file(6)) for _ in range(4)]
    photographs = [await stage.sent(a_file(2), precedence=Precedence.FLASH) for _ in range(4)]
    asked: list[UUID] = []
    read = stage.service.store.chunk

    async def noted(sender: str, ident: UUID, number: int, index: int) -> bytes | None:
        asked.append(ident)
        return await read(sender, ident, number, index)

    stage.service.store.chunk = noted  # type: ignore[method-assign]
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(films[-1]))
        await mailed(my, ident_of(photographs[0]), Lane.URGENT)
        await fetched(my, ident_of(photographs[0]))
        turns = [ident for place, ident in enumerate(asked) if asked[place - 1 : place] != [ident]]
        assert set(turns[0:8:2]) == {ident_of(each) for each in photographs}
        assert set(turns[1:8:2]) == {ident_of(each) for each in films}
        for each in (*films, *photographs):
            assert (await fetched(my, ident_of(each))).state is ArrivalState.COMPLETE


# --- room and time ---


async def test_what_has_no_room_waits_at_the_hub(stage: Stage) -> None:
    content = a_file(3)
    sent = await stage.sent(content)
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        my.arrivals.quota_bytes = 2 * SEALED_CHUNK_BYTES
        await mailed(my, ident_of(sent))
        shown = await fetched(my, ident_of(sent))
        assert (shown.state, shown.have, shown.code) == (
            ArrivalState.ARRIVING,
            0,
            "attachments-full",
        )
        assert "attachment-attachments-full" not in {a.code for a in (await my.status()).alarms}
        assert "attachments-full" in {alarm.code for alarm in (await my.status()).alarms}
        my.arrivals.quota_bytes = 3 * SEALED_CHUNK_BYTES
        now.ahead = timedelta(minutes=2)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE


async def test_one_sender_cannot_take_anothers_room(stage: Stage) -> None:
    """Of six chunks each of three senders has one, and may have one more of the other three."""
    flood = [await stage.sent(a_file(2)) for _ in range(3)]
    content = a_file(2)
    async with (
        running_node(stage.hub, "VN", stage.folder) as vn,
        opened_node(stage.hub, "MY", stage.folder) as my,
    ):
        my.arrivals.quota_bytes = 6 * SEALED_CHUNK_BYTES
        await mailed(my, ident_of(flood[-1]))
        states = [await fetched(my, ident_of(sent)) for sent in flood]
        codes = sorted(each.code for each in states if each.state is ArrivalState.ARRIVING)
        assert codes == ["attachments-share-full"] * 2
        alarms = {(alarm.code, alarm.peer) for alarm in (await my.status()).alarms}
        assert alarms == {("attachments-share-full", "SG")}
        file, officer = await handed(vn, content), stage.region.members["VN"].officer_kid
        asked = request(stage.region, ("MY",), attachments=(file,), officer_kid=officer)
        last = await stage.handed_in(await send(vn, stage.region, asked), vn)
        await mailed(my, ident_of(last))
        assert (await fetched(my, ident_of(last))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(last)) == content


async def test_what_came_too_late_is_said_to_be_expired(stage: Stage) -> None:
    sent = await stage.sent(a_file(3))
    stage.chunk(sent, 2).unlink()
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await mailed(my, ident_of(sent))
        await my.arrivals.fetch_due()
        now.ahead = timedelta(days=31)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.ARRIVING
        my.present.skew = timedelta(days=31)  # a wrong clock ends nothing
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.ARRIVING
        my.present.skew = timedelta(0)
        await my.database.change(hurry)
        shown = await fetched(my, ident_of(sent))
        assert (shown.state, shown.code) == (ArrivalState.EXPIRED, "expired")
        assert "attachment-expired" in {alarm.code for alarm in (await my.status()).alarms}
        assert await code_of(my.attachment(ident_of(sent), 1)) == "attachment-expired"
        assert list((stage.folder / "MY-attachments").rglob("0-*")) == []


async def test_a_hub_without_room_is_waited_for_and_the_alert_is_not(
    hub: RunningHub, tmp_path: Path
) -> None:
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_gateway(hub),
        serving_attachments(hub, tmp_path / "chunks") as service,
        running_node(hub, "SG", tmp_path) as sg,
        running_node(hub, "MY", tmp_path) as my,
    ):
        await fill(service, "SG", "MY")
        file = await handed(sg, a_file(2))
        asked = request(hub.region, ("MY",), attachments=(file,))
        submission = await send(sg, hub.region, asked)
        async for _ in my.subscribe():
            break  # the alert is there
        while True:
            ticket = sg.changes.ticket()
            shown = await sg.submission(submission.submission_id)
            if shown.attachments[0].code:
                break
            await ticket.wait()
        assert shown.attachments[0].code == "attachment-quota"
        assert shown.attachments[0].state is SendingState.WAITING
        await service.store.remove("SG", FILLING)

        async def at_once(connection: object) -> None:
            await connection.execute(update(tables.uploads).values(due_ms=0))  # type: ignore[attr-defined]

        await sg.database.change(at_once)
        last = await until_sent(sg, submission)
        assert last.attachments[0].state is SendingState.UPLOADED


async def test_a_file_whose_alert_went_to_nobody_is_not_sent(stage: Stage) -> None:
    file = await handed(stage.sg, a_file(2))
    asked = request(stage.region, ("TH",), attachments=(file,))
    submission = await send(stage.sg, stage.region, asked)
    last = await until_sent(stage.sg, submission)
    assert last.attachments[0].state is SendingState.DROPPED
    assert list((stage.folder / "chunks").rglob("*")) == []
    await stage.sg.uploads.forget_over()
    assert list((stage.folder / "SG-attachments" / "out").iterdir()) == []


async def test_a_destroyed_envelope_leaves_no_chunk(stage: Stage) -> None:
    sent = await stage.sent(a_file(2))
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        await mailed(my, ident_of(sent))
        await fetched(my, ident_of(sent))
        assert list((stage.folder / "MY-attachments").rglob("0-*"))
        assert await erasure.destroy(my.database, ident_of(sent), my.arrivals.files) >= 2
        assert list((stage.folder / "MY-attachments").rglob("0-*")) == []


async def test_a_node_whose_database_alone_was_restored_goes_on_with_what_its_disk_has(
    stage: Stage,
) -> None:
    """The alert is handed in again, and its chunks are not fetched twice."""
    content = a_file(3)
    sent = await stage.sent(content)
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        raw = await mailed(my, ident_of(sent))
        await fetched(my, ident_of(sent))
        await my.arrivals.tell_due()
    assert await stage.service.store.chunk("SG", ident_of(sent), 0, 0) is None  # gone from the hub
    for path in stage.folder.glob("MY.db*"):
        path.unlink()  # yesterday's backup knew nothing of it
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await my.arrivals.tidy()
        my.present.skew = timedelta(0)
        await my.arrivals.forget_unknown()
        assert await my.incoming.take(raw)  # its sender handed it in again
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
        assert await received(my, ident_of(sent)) == content
        now.ahead = KEPT + timedelta(days=1)
        (my.arrivals.files.folder / "unknown").mkdir()
        await my.arrivals.forget_unknown()
        assert my.arrivals.files.shelves() == (str(ident_of(sent)),)


async def test_a_file_that_does_not_come_is_asked_for_ever_more_rarely_and_told_after_a_day(
    stage: Stage,
) -> None:
    """As when its sender never hands it in, or a hub withholds it."""
    sent = await stage.sent(a_file(3))
    held = stage.chunk(sent, 0).rename(stage.folder / "held")
    now = Clock()
    async with opened_node(stage.hub, "MY", stage.folder, now=now) as my:
        await mailed(my, ident_of(sent))

        async def waits() -> timedelta:
            """How long after one asking the next is."""
            await my.database.change(hurry)
            now.stopped = clock.now() + now.ahead
            assert (await fetched(my, ident_of(sent))).state is ArrivalState.ARRIVING
            async with my.database.read() as connection:
                (row,) = (await connection.execute(select(tables.arrivals))).all()
            due, now.stopped = from_ms(row.due_ms) - now.stopped, None
            return due

        assert await waits() < timedelta(minutes=1)
        assert "attachment-late" not in {alarm.code for alarm in (await my.status()).alarms}
        now.ahead = timedelta(hours=10)
        assert timedelta(minutes=29) < await waits() < timedelta(minutes=31)
        now.ahead = timedelta(days=3)
        my.present.skew = timedelta(0)
        assert round(await waits() / timedelta(hours=1), 3) == 1
        assert "attachment-late" in {alarm.code for alarm in (await my.status()).alarms}
        held.rename(stage.chunk(sent, 0))
        await my.database.change(hurry)
        assert (await fetched(my, ident_of(sent))).state is ArrivalState.COMPLETE
