"""What the hub takes and gives of attached files: by the standing decision, and by nothing else.

Members ask over their own accounts at a real server; decisions stand in the real AUDIT stream.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from broker import clock, logs
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.envelope.decision import sign_decision, verdict_hash
from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.hub.attachments import BURST, PATIENCE, RATE_PER_S, AttachmentService
from broker.hub.chunkheads import parse_head
from broker.ledger.intake import Witnessed
from broker.log.leaf import LeafKind
from broker.log.rebuilt import decided_before
from broker.log.recordkeys import HeldKeys, RecordKey, RecordKeys
from broker.transport.attaching import AttachmentServices, Begun, Done, Get, Opened, Put
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import SignKey
from schemas import canonical
from schemas.decision import Decision, Opening
from tests.support.attachments import serving_attachments, stand
from tests.support.envelopes import decide, make
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.hub
CHUNK = random_bytes(SEALED_CHUNK_BYTES)
OTHER = random_bytes(SEALED_CHUNK_BYTES)
TWO = 2 * SEALED_CHUNK_BYTES


@dataclass
class Stage:
    """A hub with its service; SG wrote to MY, and TH has nothing to do with it."""

    hub: RunningHub
    service: AttachmentService
    folder: Path
    ident: UUID
    asks: dict[str, AttachmentServices]

    async def open(self, *counts: int, code: str = "SG", days: float = 5) -> tuple[int, ...]:
        expires = clock.now() + timedelta(days=days)
        return (await self.begin(*counts, code=code, expires=expires)).next

    async def begin(self, *counts: int, code: str = "SG", expires: datetime | None = None) -> Begun:
        until = expires or clock.now() + timedelta(days=5)
        return await self.asks[code].open(Opened(self.ident, counts, until))

    async def put(self, index: int = 0, raw: bytes = CHUNK, *, code: str = "SG") -> None:
        await self.asks[code].put(Put(self.ident, 0, index, raw))

    async def get(self, index: int = 0, *, code: str = "MY") -> bytes | None:
        return await self.asks[code].get(Get("SG", self.ident, 0, index))

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def decided(region: TestRegion, *, accept: tuple[str, ...] = ("MY",)) -> Decision:
    """SG to MY and TH, accepted for some of them."""
    made = make(region, ("MY", "TH"))
    whole = decide(region, made.sealed.raw)
    refused = [code for code in ("MY", "TH") if code not in accept]
    return changed(region, whole, refused)


def changed(region: TestRegion, decision: Decision, refused: list[str]) -> Decision:
    """The decision with some verdicts turned into refusals, signed anew."""
    slots, openings = [], []
    for opening, committed in zip(decision.openings, decision.header.slots, strict=True):
        if opening is not None and opening.record.recipient in refused:
            code = replace(opening.record, accepted=False, code="policy-import-default")
            opening = Opening.of(code, random_bytes(32))  # noqa: PLW2901
            committed = verdict_hash(opening)  # noqa: PLW2901
        slots.append(committed)
        openings.append(opening)
    header = replace(decision.header, slots=tuple(slots))
    return sign_decision(
        header, tuple(openings), kid=region.gateway_kid, key=region.gateway_sign_key
    )


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY", "TH"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        folder = tmp_path / "chunks"
        service = await stack.enter_async_context(serving_attachments(hub, folder, quota=4 * TWO))
        asks = {}
        for code in ("SG", "MY", "TH"):
            link = await stack.enter_async_context(hub.member_link(code))
            await link.wait_connected(BOUND_S)
            asks[code] = AttachmentServices(link, code)
        decision = decided(region)
        assert decision.header.id is not None
        await stand(hub, decision)
        yield Stage(hub, service, folder, decision.header.id, asks)


async def refusal(asking: object) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await asking  # type: ignore[misc]
    return caught.value


async def test_what_was_decided_can_be_handed_in_fetched_and_is_then_gone(stage: Stage) -> None:
    assert await stage.open(2) == (0,)
    assert await stage.get() is None  # not here yet, and not an error
    await stage.put(0)
    await stage.put(1, OTHER)
    assert await stage.get(0) == CHUNK
    assert await stage.get(1) == OTHER
    assert stage.kept == ["0-00000", "0-00001", "head"]
    await stage.asks["MY"].done(Done("SG", stage.ident))
    assert stage.kept == ["head"]
    assert await stage.get(0) is None
    assert await stage.open(2) == (2,)  # a sender that missed the answer does not begin anew
    await stage.put(0)
    assert stage.kept == ["head"]
    await stage.asks["MY"].done(Done("SG", stage.ident))  # said again, it changes nothing


async def test_a_sender_that_was_killed_learns_where_to_go_on(stage: Stage) -> None:
    await stage.open(3)
    await stage.put(0)
    await stage.put(2)
    assert await stage.open(3) == (1,)
    await stage.put(0)  # repeated, it does no harm
    assert await stage.open(3) == (1,)


async def test_a_hub_that_was_killed_goes_on_with_what_it_answered_for(stage: Stage) -> None:
    await stage.open(2)
    await stage.put(0)
    (stage.folder / "SG" / str(stage.ident) / ".0-00001.killed").write_bytes(b"half")
    async with serving_attachments(stage.hub, stage.folder) as again:
        stage.service.store = again.store  # the old subscription answers from the new memory
        assert stage.kept == ["0-00000", "head"]
        assert await stage.open(2) == (1,)
        assert await stage.get(0) == CHUNK


def flip(stage: Stage, bit: int = 100) -> None:
    """Change a bit of the head."""
    path = stage.folder / "SG" / str(stage.ident) / "head"
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)


async def test_a_head_that_the_disk_changed_is_not_believed(stage: Stage) -> None:
    await stage.open(2)
    (stage.folder / "SG" / str(stage.ident) / "head").write_bytes(b"\x00")
    async with serving_attachments(stage.hub, stage.folder) as again:
        assert again.store.head("SG", stage.ident, now=clock.now()) is None
        assert stage.kept == ["head"]


async def test_a_head_that_the_disk_changed_takes_no_chunk_with_it(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its sender has deleted the file, and nobody but the decision says for whom it was."""
    await stage.open(2)
    await stage.put(0)
    await stage.put(1, OTHER)
    before = stage.service.store.head("SG", stage.ident, now=clock.now())
    assert before is not None
    flip(stage)
    logs.configure("test")
    for alarms in (1, 0):  # the second time it is whole again
        async with serving_attachments(stage.hub, stage.folder) as again:
            stage.service.store = again.store
            assert stage.kept == ["0-00000", "0-00001", "head"]
            assert capfd.readouterr().err.count('"alarm": "chunks-damaged"') == alarms
            assert await stage.get(0, code="TH") is None
            assert await stage.get(0) == CHUNK
            assert await stage.get(1) == OTHER
            made = again.store.head("SG", stage.ident, now=clock.now())
            assert made is not None
            assert (made.recipients, made.counts) == (before.recipients, before.counts)
            assert again.store.reserved("SG") == before.reserved_bytes
    await stage.asks["MY"].done(Done("SG", stage.ident))
    assert stage.kept == ["head"]


async def test_a_sender_goes_on_under_a_head_that_was_made_anew(stage: Stage) -> None:
    await stage.open(3)
    await stage.put(0)
    flip(stage)
    async with serving_attachments(stage.hub, stage.folder) as again:
        stage.service.store = again.store
        error = await refusal(stage.put(1))
        assert (error.code, error.retry) == ("not-open", "later")  # what it promised is not known
        assert await stage.open(3) == (1,)
        await stage.put(1)
        assert await stage.get(1) == CHUNK
        assert (await refusal(stage.open(2))).code == "counts-differ"


async def test_a_sweep_makes_heads_anew_and_removes_what_was_erased(stage: Stage) -> None:
    await stage.open(1)
    await stage.put(0)
    flip(stage)
    async with serving_attachments(stage.hub, stage.folder) as again:
        await again.sweep()
        assert again.store.head("SG", stage.ident, now=clock.now()) is not None
    flip(stage)
    await erase(stage)
    async with serving_attachments(stage.hub, stage.folder) as again:
        await again.sweep()
        assert stage.kept == []


# --- no chunk without a decision ---


async def test_nothing_is_taken_before_it_is_opened(stage: Stage) -> None:
    error = await refusal(stage.put())
    assert (error.code, error.retry) == ("not-open", "later")
    assert stage.kept == []


async def test_nothing_is_taken_without_a_decision(stage: Stage) -> None:
    undecided = make(stage.hub.region, ("MY",), tail=7).label.id
    stage.ident = undecided
    error = await refusal(stage.open(1))
    assert (error.code, error.retry) == ("not-decided", "later")
    assert (await refusal(stage.put())).code == "not-open"
    assert stage.kept == []


@pytest.mark.parametrize("ident", [UUID(int=2**128 - 1), UUID(int=1)], ids=["no-time", "1970"])
async def test_an_id_of_no_year_that_is_kept_is_not_decided(stage: Stage, ident: UUID) -> None:
    stage.ident = ident
    assert (await refusal(stage.open(1))).code == "not-decided"


async def test_nothing_is_taken_after_a_refusal(stage: Stage) -> None:
    refused = changed(
        stage.hub.region,
        decide(stage.hub.region, make(stage.hub.region, ("MY", "TH"), tail=8).sealed.raw),
        ["MY", "TH"],
    )
    await stand(stage.hub, refused)
    assert refused.header.id is not None
    stage.ident = refused.header.id
    error = await refusal(stage.open(1))
    assert (error.code, error.retry) == ("nobody-accepted", "never")
    assert stage.kept == []


async def test_a_decision_that_no_gateway_signed_lets_nothing_through(stage: Stage) -> None:
    other = make_region(("SG", "MY", "TH"), now=stage.hub.region.now)
    made = make(stage.hub.region, ("MY", "TH"), tail=9)
    await stand(stage.hub, decide(other, made.sealed.raw))
    stage.ident = made.label.id
    error = await refusal(stage.open(1))
    # Its key may be in a directory that this process does not have yet.
    assert (error.code, error.retry) == ("not-decided", "later")
    assert stage.kept == []
    forged = decide(stage.hub.region, make(stage.hub.region, ("MY", "TH"), tail=12).sealed.raw)
    await stand(stage.hub, replace(forged, signature=bytes(64)))
    assert forged.header.id is not None
    stage.ident = forged.header.id
    assert (await refusal(stage.open(1))).code == "hub-refused"
    assert stage.kept == []


async def test_a_decision_about_another_envelope_lets_nothing_through(stage: Stage) -> None:
    """Whoever could write a record under another subject would gain nothing by it."""
    made = make(stage.hub.region, ("MY", "TH"), tail=10)
    lifted = decided(stage.hub.region)
    await stand(stage.hub, lifted, record.decided("SG", made.label.id))
    stage.ident = made.label.id
    assert (await refusal(stage.open(1))).code == "not-decided"


async def test_a_decision_under_a_newer_record_key_is_read_once_the_key_is_here(
    stage: Stage,
) -> None:
    old, new = stage.hub.region.record_keys.current, RecordKey.generate()
    store = [HeldKeys(old)]
    stage.service.records = RecordKeys(store[0], lambda: store[0])
    decider = Decider(
        "gw-2",
        stage.hub.region.gateway_kid,
        stage.hub.region.gateway_sign_key,
        RecordKeys(HeldKeys(new, (old,))),
    )
    made = make(stage.hub.region, ("MY", "TH"), tail=11)
    audited = decider.audited(decide(stage.hub.region, made.sealed.raw))
    async with stage.hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        subject = record.decided("SG", made.label.id)
        await record.AuditTrail(link).stand(subject, audited.to_bytes())
    stage.ident, first = made.label.id, stage.ident
    error = await refusal(stage.open(1))
    assert (error.code, error.retry) == ("not-decided", "later")
    store[0] = HeldKeys(new, (old,))
    assert await stage.open(1) == (0,)
    stage.ident = first  # and what lies under the older one, too
    assert await stage.open(1) == (0,)


async def erase(stage: Stage) -> None:
    """Let what erases the decision stand in its place."""
    subject = record.decided("SG", stage.ident)
    async with stage.hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        pen = Witnessed(SignKey.generate())
        erasure = pen.state(LeafKind.ERASURE, now=clock.now(), ref=bytes([1]) * 32)
        await link.publish_acked(subject, erasure.to_bytes(), msg_id="erased")


async def test_an_erased_decision_takes_its_chunks_with_it(stage: Stage) -> None:
    await stage.open(1)
    await stage.put()
    await erase(stage)
    await stage.service.sweep()
    assert stage.kept == []
    assert await stage.get() is None
    assert (await refusal(stage.open(1))).code == "nobody-accepted"


async def lose_record(stage: Stage) -> None:
    """What stands after a loss, once the log has put back which ids are decided."""
    subject = record.decided("SG", stage.ident)
    async with stage.hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        mark = decided_before(subject, SignKey.generate())
        await link.publish_acked(subject, mark, msg_id="put-back")


async def test_after_its_decision_was_lost_a_file_is_refused_for_good(stage: Stage) -> None:
    await lose_record(stage)
    error = await refusal(stage.open(2))
    assert (error.code, error.retry) == ("decision-lost", "never")
    assert (await refusal(stage.put())).code == "not-open"
    assert stage.kept == []


async def test_what_was_opened_before_its_decision_was_lost_goes_on(stage: Stage) -> None:
    await stage.open(2)
    await stage.put(0)
    await lose_record(stage)
    assert await stage.open(2) == (1,)
    assert (await refusal(stage.open(3))).code == "counts-differ"
    await stage.put(1, OTHER)
    assert [await stage.get(0), await stage.get(1)] == [CHUNK, OTHER]
    assert await stage.get(code="TH") is None
    assert (await refusal(stage.open(2, code="TH"))).code == "not-decided"


# --- to whom it did not go ---


async def test_a_member_gets_nothing_of_what_it_was_not_let_through_to(stage: Stage) -> None:
    await stage.open(1)
    await stage.put()
    assert await stage.get(code="TH") is None  # as if it were not there
    for code in ("TH", "SG"):  # nor can it take it from others: not even its own sender can
        assert await stage.asks[code].done(Done("SG", stage.ident)) is False
        assert stage.kept == ["0-00000", "head"]
    assert await stage.get(code="SG") is None


async def test_a_member_cannot_hand_in_for_another(stage: Stage) -> None:
    """What TH says about SG's envelope is about an envelope of TH with the same id."""
    await stage.open(1)
    assert (await refusal(stage.open(1, code="TH"))).code == "not-decided"
    assert (await refusal(stage.put(code="TH"))).code == "not-open"
    assert (await refusal(stage.put(code="MY"))).code == "not-open"
    assert stage.kept == ["head"]


@pytest.mark.parametrize("sender", ["..", "../SG", "SG/..", "*", "", "SG" * 400])
async def test_a_senders_name_is_never_a_path(stage: Stage, sender: str) -> None:
    await stage.open(1)
    await stage.put()
    assert await stage.asks["MY"].get(Get(sender, stage.ident, 0, 0)) is None
    await stage.asks["MY"].done(Done(sender, stage.ident))
    assert stage.kept == ["0-00000", "head"]


# --- chunks ---


async def test_a_chunk_never_changes(stage: Stage) -> None:
    await stage.open(2)
    await stage.put(0)
    error = await refusal(stage.put(0, OTHER))
    assert (error.code, error.retry) == ("chunk-differs", "never")
    assert await stage.get(0) == CHUNK


async def test_more_than_was_promised_is_refused(stage: Stage) -> None:
    await stage.open(2)
    assert (await refusal(stage.put(2))).code == "no-such-chunk"
    beyond = Put(stage.ident, 1, 0, CHUNK)
    assert (await refusal(stage.asks["SG"].put(beyond))).code == "no-such-chunk"
    assert (await refusal(stage.open(3))).code == "counts-differ"
    assert (await refusal(stage.open(2, 1))).code == "counts-differ"
    assert stage.kept == ["head"]


@pytest.mark.parametrize("length", [0, 1, SEALED_CHUNK_BYTES - 1, SEALED_CHUNK_BYTES + 1])
async def test_a_chunk_of_another_length_is_refused(stage: Stage, length: int) -> None:
    await stage.open(2)
    assert (await refusal(stage.put(0, bytes(length)))).code == "no-such-chunk"


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("open", {}),
        ("open", {"id": bytes(15), "counts": [1], "expires": 1}),
        ("open", {"id": bytes(16), "counts": [], "expires": 1}),
        ("open", {"id": bytes(16), "counts": [0], "expires": 1}),
        ("open", {"id": bytes(16), "counts": [4097], "expires": 1}),
        ("open", {"id": bytes(16), "counts": [1] * 9, "expires": 1}),
        ("open", {"id": bytes(16), "counts": [True], "expires": 1}),
        ("open", {"id": bytes(16), "counts": [1], "expires": 2**50}),
        ("put", {"id": bytes(16), "number": 0, "chunk": 0}),
        ("put", {"id": bytes(16), "number": -1, "chunk": 0, "data": b""}),
        ("put", {"id": bytes(16), "number": 8, "chunk": 0, "data": b""}),
        ("put", {"id": bytes(16), "number": 0, "chunk": 4096, "data": b""}),
        ("get", {"sender": 1, "id": bytes(16), "number": 0, "chunk": 0}),
        ("get", {"sender": "SG", "id": bytes(16), "number": True, "chunk": 0}),
        ("done", {"sender": "SG", "id": bytes(16), "more": 1}),
        ("delete", {"sender": "SG", "id": bytes(16)}),
        ("", {}),
    ],
)
async def test_a_request_of_another_form_is_refused(
    stage: Stage, what: str, body: dict[str, canonical.Value]
) -> None:
    link = stage.asks["SG"].link
    subject = f"hub.SG.att.{what}" if what else "hub.SG.att.open.more"
    raw = await link.request(subject, canonical.encode(body))
    assert canonical.decode(raw, max_bytes=100) == {"error": "bad-request"}
    assert stage.kept == []


async def test_bytes_that_are_no_request_are_refused(stage: Stage) -> None:
    for raw in (b"", b"\xc1", b"\x81", bytes(600 * 1024)):
        answer = await stage.asks["SG"].link.request("hub.SG.att.put", raw)
        assert canonical.decode(answer, max_bytes=100) == {"error": "hub-refused"}


# --- given up early ---


async def test_what_is_given_up_while_another_fetches_is_fetched_to_its_end(stage: Stage) -> None:
    region = stage.hub.region
    both = decide(region, make(region, ("MY", "TH"), tail=14).sealed.raw)
    await stand(stage.hub, both)
    assert both.header.id is not None
    stage.ident = both.header.id
    await stage.open(2)
    await stage.put(0)
    assert await stage.get(0, code="TH") == CHUNK
    given_up, second = await asyncio.gather(
        stage.asks["MY"].done(Done("SG", stage.ident)), stage.get(1, code="TH")
    )
    assert (given_up, second) == (True, None)
    await stage.put(1, OTHER)  # its sender had not handed in all of it yet
    assert await stage.get(1, code="TH") == OTHER
    assert await stage.asks["TH"].done(Done("SG", stage.ident))
    assert stage.kept == ["head"]


async def test_what_all_gave_up_before_it_was_handed_in_is_taken_from_nobody(stage: Stage) -> None:
    """An early answer stands for nothing: it must be given again once the hub knows of files."""
    assert await stage.asks["MY"].done(Done("SG", stage.ident)) is False
    assert await stage.open(2) == (0,)
    await stage.put(0)
    assert await stage.get(0) == CHUNK
    assert await stage.asks["MY"].done(Done("SG", stage.ident)) is True
    assert await stage.open(2) == (2,)  # its sender is told that nothing more is needed
    await stage.put(1)
    assert stage.kept == ["head"]


async def test_a_release_said_again_frees_nothing_of_the_next_alert(stage: Stage) -> None:
    region = stage.hub.region
    await stage.open(1)
    await stage.put()
    said = Done("SG", stage.ident)
    await stage.asks["MY"].done(said)
    second = decide(region, make(region, ("MY",), tail=15).sealed.raw)
    await stand(stage.hub, second)
    assert second.header.id is not None
    stage.ident = second.header.id
    await stage.open(1)
    await stage.put()
    await stage.asks["MY"].done(said)
    assert await stage.get() == CHUNK
    wrong = Done("TH", stage.ident)
    assert await stage.asks["MY"].done(wrong) is False  # of another sender, under the same id
    assert await stage.get() == CHUNK


# --- room and time ---


async def test_a_sender_has_so_much_room_and_takes_nobody_elses(stage: Stage) -> None:
    assert await stage.open(3) == (0,)
    region = stage.hub.region
    second = decide(region, make(region, ("MY",), tail=11).sealed.raw)
    await stand(stage.hub, second)
    assert second.header.id is not None
    first, stage.ident = stage.ident, second.header.id
    error = await refusal(stage.open(2))  # promised is as good as taken
    assert (error.code, error.retry) == ("attachment-quota", "later")
    assert await stage.open(1) == (0,)
    await stage.asks["MY"].done(Done("SG", first))
    third = decide(region, make(region, ("MY",), tail=12).sealed.raw)
    await stand(stage.hub, third)
    assert third.header.id is not None
    stage.ident = third.header.id
    assert await stage.open(3) == (0,)  # there is room again once it was fetched


async def test_who_fetches_nothing_keeps_no_file_from_the_others(stage: Stage) -> None:
    """Eight chunks for two recipients: two are each one's, and it may have two more."""

    async def decided(to: tuple[str, ...], tail: int) -> UUID:
        one = decide(stage.hub.region, make(stage.hub.region, to, tail=tail).sealed.raw)
        await stand(stage.hub, one)
        assert one.header.id is not None
        stage.ident = one.header.id
        return stage.ident

    filled = await decided(("MY", "TH"), 21)
    assert await stage.begin(4) == Begun((0,))
    await stage.asks["MY"].done(Done("SG", filled))  # TH is away
    await decided(("MY",), 22)
    assert await stage.begin(4) == Begun((0,))  # as if TH were not
    await stage.asks["MY"].done(Done("SG", stage.ident))
    await decided(("MY", "TH"), 23)
    error = await refusal(stage.open(2))  # TH may come back
    assert (error.code, error.retry) == ("attachment-quota", "later")
    stage.service.now = lambda: clock.now() + PATIENCE
    assert await stage.begin(2) == Begun((0,), ("TH",))
    assert await stage.begin(2) == Begun((0,), ("TH",))  # asked again, it is so still
    await stage.put()
    assert await stage.get() == CHUNK
    assert await stage.get(code="TH") is None
    assert stage.service.store.reserved("SG") == 6 * SEALED_CHUNK_BYTES
    await stage.asks["MY"].done(Done("SG", stage.ident))  # nobody else is waited for
    assert stage.service.store.reserved("SG") == 4 * SEALED_CHUNK_BYTES
    await decided(("TH",), 24)
    assert (await refusal(stage.open(1))).code == "attachment-quota"
    stage.ident = filled
    await stage.asks["TH"].done(Done("SG", filled))
    await decided(("TH",), 25)
    assert await stage.begin(4) == Begun((0,))


async def test_what_nobody_fetched_goes_at_the_alerts_time(stage: Stage) -> None:
    await stage.open(1, days=5)
    await stage.put()
    later = clock.now() + timedelta(days=5, minutes=1)
    stage.service.now = lambda: later
    assert await stage.get() is None
    assert (await refusal(stage.put())).code == "not-open"
    assert (await refusal(stage.open(1, days=5))).code == "expired"
    await stage.service.sweep()
    assert stage.kept == []


async def test_by_a_clock_in_doubt_nothing_is_over(stage: Stage) -> None:
    await stage.open(1, days=5)
    await stage.put()
    later = clock.now() + timedelta(days=90)
    stage.service.now, stage.service.clock_is_good = lambda: later, lambda: False
    await stage.service.sweep()
    assert await stage.open(1, days=5) == (1,)
    assert await stage.get() == CHUNK


async def test_no_alert_makes_the_hub_keep_for_more_than_ninety_days(stage: Stage) -> None:
    await stage.open(1, days=4000)
    head = parse_head((stage.folder / "SG" / str(stage.ident) / "head").read_bytes())
    assert head.expires - clock.now() <= timedelta(days=90)
    later = clock.now() + timedelta(days=90, minutes=1)
    stage.service.now = lambda: later
    await stage.service.sweep()
    assert stage.kept == []


async def test_a_flood_of_one_member_is_told_to_wait_and_others_are_not(stage: Stage) -> None:
    await stage.open(1)
    await stage.put()
    steady_s = 1000.0
    stage.service.buckets.steady = lambda: steady_s
    link = stage.asks["TH"].link

    async def answered() -> object:
        return canonical.decode(await link.request("hub.TH.att.get", b""), max_bytes=100)

    answers = [await answered() for _ in range(int(BURST) + 1)]
    assert answers[-1] == {"error": "busy"}
    assert await stage.get() == CHUNK
    for jump in (timedelta(days=1), -timedelta(days=1)):
        stage.service.now = lambda jump=jump: clock.now() + jump  # type: ignore[misc]
        assert await answered() == {"error": "busy"}  # nothing is given for a clock that jumps
        steady_s += 1.5 / RATE_PER_S
        assert await answered() == answers[0]  # nor taken away


async def test_two_recipients_at_once_are_both_noted(stage: Stage) -> None:
    region = stage.hub.region
    both = decide(region, make(region, ("MY", "TH"), tail=13).sealed.raw)
    await stand(stage.hub, both)
    assert both.header.id is not None
    stage.ident = both.header.id
    await stage.open(1)
    await stage.put()
    await stage.asks["MY"].done(Done("SG", stage.ident))
    await stage.asks["MY"].done(Done("SG", stage.ident))  # said twice, it is still one of two
    assert await stage.get(code="TH") == CHUNK  # which still needs it
    await asyncio.gather(
        *(stage.asks[code].done(Done("SG", stage.ident)) for code in ("MY", "TH", "MY"))
    )
    assert stage.kept == ["head"]
