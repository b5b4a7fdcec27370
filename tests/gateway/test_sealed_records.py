"""The hub's disk tells nobody who was written to and what was decided; a gateway opens it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.gateway.dispatch import Dispatcher
from broker.log.audited import SealedRecord, parse_audited
from broker.log.errors import LogError
from broker.log.leaf import LeafKind, parse_signed
from broker.log.recordkeys import HeldKeys, RecordKey, RecordKeys
from broker.transport.link import Link
from broker.transport.message import Stored
from broker.transport.streamstates import stream_states
from keys.primitives.sealing import OpenKey
from schemas.content import Content
from schemas.control import Told, control_intent, encode_control
from schemas.decision import Decision, parse_decision
from schemas.label import Label, Reference, Sender
from schemas.policy import PolicyDocument
from schemas.receipt import DecisionReceipt, NoticeReceipt, Where
from schemas.vocabulary import Kind, Status
from tests.support.envelopes import Made, decide, make, make_audience, seal_content
from tests.support.gateway import mail, no_mail, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.labels import uuid7_at
from tests.support.region import TestRegion, make_region, permissive

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]
RECIPIENT = "INTERPOL"  # a name that does not stand in random bytes by chance
CODES = ("SG", "MY", RECIPIENT)


@dataclass
class Stage:
    """A hub with auditors; SG writes to INTERPOL, and to MY, which takes nothing."""

    hub: RunningHub
    links: dict[str, Link]
    own: Link

    @property
    def region(self) -> TestRegion:
        return self.hub.region

    def decider(self, name: str, keys: RecordKeys) -> Decider:
        return Decider(name, self.region.gateway_kid, self.region.gateway_sign_key, keys)

    async def decide(self, made: Made, attempt: int = 1) -> Decision:
        """What a running gateway tells SG of it."""
        await submit(self.links["SG"], made, attempt=attempt)
        return await self.told("SG")

    async def told(self, member: str) -> Decision:
        found = await receipt(self.links[member], member)
        assert isinstance(found, DecisionReceipt)
        return parse_decision(found.decision)

    async def answer(self, made: Made, kind: Kind, number: int) -> str:
        """The code with which the gateway answers a control of INTERPOL about `made`."""
        said = control(self.region, made, kind, number)
        await submit(self.links[RECIPIENT], said, sender=RECIPIENT)
        return (await self.told(RECIPIENT)).header.code

    async def stored(self) -> list[Stored]:
        """Every message of this year's AUDIT stream."""
        name = f"AUDIT_{clock.now().year}"
        last = (await stream_states(self.own, "audit.>"))[name].last_seq
        found = [await self.own.get(name, seq) for seq in range(1, last + 1)]
        return [each for each in found if each is not None]

    async def standing(self, made: Made) -> SealedRecord:
        found = await self.own.get_last(*of(record.decided("SG", made.label.id)))
        assert found is not None
        return parse_audited(found.payload)

    def files(self) -> Iterator[bytes]:
        """What the server keeps of AUDIT, byte by byte."""
        for path in self.hub.place.folder.rglob("*"):
            if path.is_file() and any(part.startswith("AUDIT_") for part in path.parts):
                yield path.read_bytes()

    def on_disk(self, *marks: bytes) -> list[bytes]:
        files = list(self.files())
        assert files
        forms = [(mark, form) for mark in marks for form in (mark, mark.hex().encode())]
        return [mark for mark, form in forms if any(form in raw for raw in files)]


def of(subject: str) -> tuple[str, str]:
    return record.stream_of(subject), subject


def control(region: TestRegion, made: Made, kind: Kind, number: int) -> Made:
    meant = control_intent(
        kind,
        sender=Sender(member=RECIPIENT, agency="HQ"),
        ref=Reference(id=made.label.id, digest=made.sealed.digest),
        status=Status.ACTUAL,
        now=region.now,
    )
    label = Label.from_intent(
        meant, id=uuid7_at(region.now, 100 + number), directory=region.view.version
    )
    content, audience = Content(encode_control(Told(kind, region.now))), make_audience(("SG",))
    sealed = seal_content(region, label, content, audience, counter=number)
    return Made(label, content, audience, sealed)


def region_of_three() -> TestRegion:
    export = tuple(rule for rule in permissive("MY").rule if rule.direction == "export")
    shut = PolicyDocument(format=1, member="MY", title="takes nothing", rule=export)
    region = make_region(CODES, now=clock.now(), policies={"MY": shut})
    auditors = OpenKey.generate().public.raw
    document = region.view.hub.model_copy(update={"auditors_key": auditors})
    return replace(region, view=replace(region.view, hub=document))


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region_of_three(), tmp_path / "hub"))
        own = await stack.enter_async_context(hub.hub_link())
        links = {code: await stack.enter_async_context(hub.member_link(code)) for code in CODES}
        for link in (*links.values(), own):
            await link.wait_connected(BOUND_S)
        yield Stage(hub, links, own)


def secrets_of(decision: Decision) -> list[bytes]:
    """What names a recipient, a verdict, a rule or a reason, and every salt."""
    found = [RECIPIENT.encode(), decision.header_bytes, decision.header.digest, decision.signature]
    found += [decision.salts.route, decision.salts.body]
    for opening in decision.openings:
        if opening is not None:
            shown = opening.record
            found += [opening.salt, opening.record_bytes, shown.code.encode(), shown.rule.encode()]
    return [each for each in found if each]


# --- what lies on the disk ---


async def test_nothing_of_a_decision_lies_in_clear_on_the_hubs_disk(stage: Stage) -> None:
    made, refused = make(stage.region, (RECIPIENT, "MY")), make(stage.region, ("MY",), tail=2)
    async with running_gateway(stage.hub):
        told = [await stage.decide(each) for each in (made, refused)]
        rubbish = replace(made, sealed=replace(made.sealed, raw=b"x"))
        await submit(stage.links["SG"], rubbish, attempt=2)
        await stage.told("SG")
    await stage.hub.restart(stage.own, *stage.links.values())  # all of it is on the disk then
    for each, decision in zip((made, refused), told, strict=True):
        standing = await stage.standing(each)
        secrets = secrets_of(decision)[1 if each is refused else 0 :]
        opened = standing.open(stage.region.record_keys)
        assert opened.decision == decision
        assert [secret for secret in secrets if secret not in opened.decision_bytes] == []
        assert stage.on_disk(standing.sealed) == [standing.sealed]  # so the search finds what is
        assert stage.on_disk(*secrets) == []
    codes = {opening.record.code for opening in told[0].openings if opening is not None}
    assert codes == {"", "policy-import-default"}


async def test_the_place_of_a_control_tells_not_what_it_is_about(stage: Stage) -> None:
    """Whoever could tell would know who received it, which the decision keeps to itself."""
    made = make(stage.region, (RECIPIENT,))
    async with running_gateway(stage.hub):
        await stage.decide(made)
        assert await stage.answer(made, Kind.DELIVERED, 1) == ""
    (place,) = [each for each in await stage.stored() if ".once." in each.subject]
    about = (str(made.label.id), made.label.id.hex, Kind.DELIVERED.value)
    assert [word for word in about if word in place.subject] == []
    assert len(place.payload) == 32
    assert made.sealed.digest != place.payload


async def test_a_notice_of_an_unread_copy_is_sealed_and_the_first_one_stands(
    stage: Stage,
) -> None:
    made, region = make(stage.region, (RECIPIENT,)), stage.region
    decision, new = decide(region, made.sealed.raw), RecordKeys.of(bytes(32))
    first = RecordKeys.of(region.record_keys.current.secret)
    both = RecordKeys(HeldKeys(new.current, (first.current,)))
    for keys, to in ((first, ("SG",)), (both, ("SG", RECIPIENT))):
        dispatcher = Dispatcher(
            stage.own,
            record.AuditTrail(stage.own),
            region.gateway_kid,
            region.gateway_sign_key,
            keys,
        )
        await dispatcher.notify(
            made.label, decision, RECIPIENT, Where.EXPIRED, now=clock.now(), to=to
        )
    told = [await receipt(stage.links[code], code) for code in ("SG", RECIPIENT)]
    assert told[0] == told[1]  # of two times, the one on record
    assert isinstance(told[0], NoticeReceipt)
    assert RECIPIENT.encode() in told[0].notice
    (notice,) = [each for each in await stage.stored() if ".left." in each.subject]
    assert RECIPIENT not in notice.subject
    assert RECIPIENT.encode() not in notice.payload


# --- who opens it ---


async def test_a_worker_under_a_newer_key_carries_out_what_one_under_an_older_decided(
    stage: Stage,
) -> None:
    """The older one was killed between the record and what follows from it; its race is lost."""
    made, region = make(stage.region, (RECIPIENT,)), stage.region
    old, new = RecordKey.generate(), RecordKey.generate()
    dead = stage.decider("gw-1", RecordKeys(HeldKeys(old)))
    first = dead.audited(decide(region, made.sealed.raw), auditors=region.view.auditors)
    await record.AuditTrail(stage.own).stand(record.decided("SG", made.label.id), first.to_bytes())
    late = stage.decider("gw-2", RecordKeys(HeldKeys(new, (old,))))
    async with running_gateway(stage.hub, decider=late):
        assert (await stage.decide(made)).to_bytes() == first.decision_bytes
        delivered = await mail(stage.links[RECIPIENT], RECIPIENT)
        assert delivered.decision.salts == first.decision.salts
        other = make(region, (RECIPIENT,), tail=2)
        await stage.decide(other)
    assert (await stage.standing(made)).to_bytes() == first.to_bytes()
    assert (await stage.standing(other)).key == new.name
    voids = [each for each in await stage.stored() if each.subject.startswith("audit.") and
             ".gateway.gw-2." in each.subject]  # fmt: skip
    kinds = [parse_signed(each.payload).statement.kind for each in voids]
    assert kinds == [LeafKind.VOID]  # the number that its own decision had taken


async def test_two_workers_one_with_the_new_key_and_one_without_decide_each_once(
    stage: Stage,
) -> None:
    """Right after a rotation: one restarted, the other meets the new key and reads it then."""
    old, new = RecordKey.generate(), RecordKey.generate()
    store = [HeldKeys(old)]
    running = RecordKeys(store[0], lambda: store[0])
    store[0] = HeldKeys(new, (old,))  # `kentong hub rekey-record`
    workers = [stage.decider(name, keys) for name, keys in
               (("gw-1", running), ("gw-2", RecordKeys(store[0])))]  # fmt: skip
    made = [make(stage.region, (RECIPIENT,), tail=n, counter=n) for n in range(1, 21)]
    async with (
        running_gateway(stage.hub, decider=workers[0]),
        running_gateway(stage.hub, decider=workers[1]),
    ):
        for each in made:
            await submit(stage.links["SG"], each)
            await submit(stage.links["SG"], each, attempt=2)
        seen = set()
        async with asyncio.timeout(BOUND_S):
            while len(seen) < len(made):
                seen.add((await mail(stage.links[RECIPIENT], RECIPIENT)).decision.header.digest)
        for number, each in enumerate(made, start=1):  # controls are about both workers' records
            assert await stage.answer(each, Kind.DELIVERED, number) == ""
    assert seen == {each.sealed.digest for each in made}
    both = RecordKeys(store[0])
    for each in made:
        opened = (await stage.standing(each)).open(both)
        assert opened.decision.header.digest == each.sealed.digest


async def test_a_control_passes_once_before_and_after_a_rotation(stage: Stage) -> None:
    made, old, new = make(stage.region, (RECIPIENT,)), RecordKey.generate(), RecordKey.generate()
    never = make(stage.region, ("MY",), tail=2)
    for number, held in enumerate((HeldKeys(old), HeldKeys(new, (old,)))):
        decider = stage.decider(f"gw-{number}", RecordKeys(held))
        async with running_gateway(stage.hub, decider=decider):
            if not number:
                await stage.decide(made)
                await stage.decide(never)
                assert await stage.answer(made, Kind.DELIVERED, 1) == ""
                assert await stage.answer(made, Kind.DELIVERED, 2) == "control-repeated"
            else:
                assert await stage.answer(made, Kind.DELIVERED, 3) == "control-repeated"
                assert await stage.answer(made, Kind.OPENED, 4) == ""
                assert await stage.answer(never, Kind.OPENED, 5) == "control-without-decision"


async def test_a_record_under_an_unknown_key_waits_and_is_carried_out_once_the_key_is_there(
    stage: Stage,
) -> None:
    made, region = make(stage.region, (RECIPIENT,)), stage.region
    missing, own = RecordKey.generate(), RecordKey.generate()
    dead = stage.decider("gw-1", RecordKeys(HeldKeys(missing)))
    first = dead.audited(decide(region, made.sealed.raw))
    await record.AuditTrail(stage.own).stand(record.decided("SG", made.label.id), first.to_bytes())
    asked = asyncio.Event()
    held = [HeldKeys(own)]

    def reread() -> HeldKeys:
        asked.set()
        return held[0]

    late = stage.decider("gw-2", RecordKeys(held[0], reread))
    async with running_gateway(stage.hub, decider=late):
        await submit(stage.links["SG"], made)
        async with asyncio.timeout(BOUND_S):
            await asked.wait()
        await no_mail(stage.links[RECIPIENT], RECIPIENT)
        held[0] = HeldKeys(own, (missing,))
    async with running_gateway(stage.hub, decider=late):
        assert (await stage.decide(made, attempt=2)).to_bytes() == first.decision_bytes
        delivered = await mail(stage.links[RECIPIENT], RECIPIENT)
        assert delivered.decision.header_bytes == first.decision.header_bytes


async def test_what_was_decided_under_a_lost_key_stays_decided(stage: Stage) -> None:
    made, lost = make(stage.region, (RECIPIENT,)), RecordKey.generate()
    early = stage.decider("gw-1", RecordKeys(HeldKeys(lost)))
    async with running_gateway(stage.hub, decider=early):
        await stage.decide(made)
        await mail(stage.links[RECIPIENT], RECIPIENT)
    given_up = HeldKeys(RecordKey.generate(), lost=frozenset({lost.name}))
    async with running_gateway(stage.hub, decider=stage.decider("gw-2", RecordKeys(given_up))):
        other = make(stage.region, (RECIPIENT,))
        assert other.label.id == made.label.id
        assert (await stage.decide(other)).header.code == "id-reused"
        assert await stage.answer(made, Kind.OPENED, 1) == "control-without-decision"
        await stage.decide(make(stage.region, (RECIPIENT,), tail=2))
    await no_mail_of(stage, other)


async def no_mail_of(stage: Stage, made: Made) -> None:
    delivered = await mail(stage.links[RECIPIENT], RECIPIENT)
    assert delivered.delivered.frame.digest != made.sealed.digest


# --- a record in the wrong place ---


async def test_a_record_moved_to_another_id_delivers_nothing(stage: Stage) -> None:
    """As whoever writes to the hub's disk could do it; the decision itself stays closed to him."""
    made, other = (make(stage.region, (RECIPIENT,), tail=n) for n in (1, 2))
    async with running_gateway(stage.hub):
        await stage.decide(made)
        await mail(stage.links[RECIPIENT], RECIPIENT)
        whole = await stage.standing(made)
        await record.AuditTrail(stage.own).stand(
            record.decided("SG", other.label.id), whole.to_bytes()
        )
        assert (await stage.decide(other)).header.code == "id-reused"
        await no_mail(stage.links[RECIPIENT], RECIPIENT)


async def test_a_sealed_decision_beside_another_statement_is_carried_out_by_nobody(
    stage: Stage,
) -> None:
    made, other = (make(stage.region, (RECIPIENT,), tail=n) for n in (1, 2))
    decider = stage.decider("gw-1", stage.region.record_keys)
    mine, theirs = (decider.audited(decide(stage.region, m.sealed.raw)) for m in (made, other))
    mixed = replace(mine.record, sealed=theirs.record.sealed)
    with pytest.raises(LogError) as caught:
        mixed.open(stage.region.record_keys)
    assert caught.value.code == "cannot-open"
    await record.AuditTrail(stage.own).stand(record.decided("SG", made.label.id), mixed.to_bytes())
    async with running_gateway(stage.hub):
        await submit(stage.links["SG"], made)
        await stage.decide(make(stage.region, (RECIPIENT,), tail=3))  # the lane goes on
        delivered = await mail(stage.links[RECIPIENT], RECIPIENT)
    assert delivered.delivered.frame.digest != made.sealed.digest
