"""Alerts of 1 KiB, and envelopes of them.

`sealed` seals anew each time, as a node does. `relabelled` seals once and gives the same sealed
bytes new labels, each signed: the gateway, which is blind, does the same work on them, and a
million can be made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from secrets import randbits, token_hex
from uuid import UUID

from broker import clock
from broker.admission.judgement import Judged
from broker.envelope import wire
from broker.envelope.decision import encode_delivery
from broker.envelope.officer import make_audience, officer_signed_bytes
from broker.envelope.seal import Recipient, seal
from broker.envelope.signed import SUITE, signed_bytes
from broker.envelope.slots import to_wire
from broker.envelope.submitted import deliver, parse_submitted
from broker.gateway.decide import Decider
from keys.primitives.hashing import sha256
from schemas.blocks.base import Text
from schemas.common import Alert
from schemas.content import Content, OfficerBlock, encode_alert
from schemas.decision import VerdictRecord
from schemas.facts import derive_facts
from schemas.label import Facts, Label, Retention, Sender, uuid7_time
from schemas.vocabulary import Precedence
from tests.bench.region import BenchRegion
from tests.support.alerts import cyber_alert
from tests.support.labels import intent

CONTENT_BYTES = 1024  # of an alert, as its officer signs it


@dataclass(frozen=True)
class Envelope:
    """An envelope as its sender submits it."""

    subject: str
    raw: bytes
    digest: bytes


def alert() -> Alert:
    """An alert of 1 KiB without personal data, which every policy to start from permits."""
    return _with_text(token_hex(_text_bytes()))


@cache
def _text_bytes() -> int:
    """How much text brings an alert to its size; found once, for `alert` itself is measured."""
    return (CONTENT_BYTES - len(encode_alert(_with_text("00"))) + 2) // 2


def _with_text(text: str) -> Alert:
    return cyber_alert(
        texts=(Text(value=text, lang="en"),),
        indicators=(),
        observables=(),
        techniques=(),
        entities=(),
        relationships=(),
        wallets=(),
        accounts=(),
        evaluation=None,
    )


def sealed(region: BenchRegion, sender: str, to: Sequence[str], *, counter: int = 1) -> Envelope:
    """A fresh alert, signed by an officer and sealed to `to`."""
    said, now = alert(), clock.now()
    label = _label(region, said, sender, now)
    content, openings = _content(region, label, said, sender, to)
    recipients = [
        Recipient(code, (1, counter), *region.view.encryption_key(code, at=now), random)
        for code, random in openings.items()
    ]
    kid, key = region.identities[sender].signer(region.view, at=now)
    done = seal(label, content, recipients=recipients, node_kid=kid, node_key=key)
    return _envelope(label, done.raw, done.digest)


def relabelled(region: BenchRegion, sender: str, to: Sequence[str]) -> Iterator[Envelope]:
    """Envelopes without end: one sealed content under a new label each time."""
    first = parse_submitted(sealed(region, sender, to).raw)
    kid, key = region.identities[sender].signer(region.view, at=clock.now())
    frame = first.frame
    stanzas = [first.stanzas[slot.recipient] for slot in first.slots]
    while True:
        label = frame.label.model_copy(update=_identity(clock.now()))
        raw = label.to_bytes()
        signed = signed_bytes(SUITE, kid, raw, frame.commit, frame.entries, frame.ciphertext)
        joined = wire.join(
            [wire.WIRE_VERSION, SUITE, raw, frame.commit, to_wire(frame.entries), list(stanzas)],
            frame.ciphertext,
            [kid, key.sign(signed)],
        )
        yield _envelope(label, joined, sha256(signed))


def _label(region: BenchRegion, said: Alert, sender: str, now: datetime) -> Label:
    facts: Facts = derive_facts(
        said, has_original=False, has_attachments=False, reviewed_no_personal_data=True
    )
    kept = Retention(review_by=now + timedelta(days=300), delete_by=now + timedelta(days=700))
    meant = intent(
        said,
        sender=Sender(member=sender, agency="HQ"),
        precedence=Precedence.ROUTINE,
        facts=facts,
        expires=now + timedelta(days=30),
        retention=kept,
    )
    fresh = _identity(now)
    return Label.from_intent(meant, id=fresh["id"], directory=region.view.version)


def _identity(now: datetime) -> dict[str, object]:
    """What a new label has of its own: a UUIDv7, and the time inside it."""
    ms = int(now.timestamp() * 1000)
    ident = UUID(int=ms << 80 | 7 << 76 | randbits(12) << 64 | 2 << 62 | randbits(62))
    return {"id": ident, "created": uuid7_time(ident)}


def _content(
    region: BenchRegion, label: Label, said: Alert, sender: str, to: Sequence[str]
) -> tuple[bytes, dict[str, bytes]]:
    officer, audience, raw = region.officers[sender], make_audience(to), encode_alert(said)
    block = OfficerBlock(officer.kid, bytes(64), audience.entries, True)
    unsigned = Content(raw, block, None)
    message = officer_signed_bytes(
        label, audience.entries, raw, unsigned.manifests_bytes, officer.kid
    )
    signed = replace(block, signature=officer.sign_key.sign(message))
    content = replace(unsigned, officer=signed).to_bytes()
    return content, dict(audience.openings)


def _envelope(label: Label, raw: bytes, digest: bytes) -> Envelope:
    return Envelope(f"submit.{label.sender.member}.{label.lane}.{label.id}", raw, digest)


def deliveries(
    region: BenchRegion, sender: str, member: str, count: int, *, first: int = 1
) -> Iterator[Envelope]:
    """What the gateway puts into the inbox of `member`: copies let through, each sealed anew.

    Args:
        region: Whose gateway signs.
        sender: Of all of them.
        member: The recipient.
        count: How many.
        first: The sender's number of the first.
    """
    secrets = region.gateway
    decider = Decider("gateway-1", secrets.kid, secrets.key, secrets.records)
    for counter in range(first, first + count):
        made = sealed(region, sender, (member,), counter=counter)
        submitted = parse_submitted(made.raw)
        records = {
            slot.hash: VerdictRecord(
                slot.hash, slot.recipient, slot.pair_seq, True, "", "bench: all", b""
            )
            for slot in submitted.slots
        }
        decision = decider.sign(
            Judged(submitted, records),
            sender=sender,
            directory=region.view.version,
            now=clock.now(),
        )
        raw = encode_delivery(deliver(submitted, member), decision, member)
        label = submitted.frame.label
        yield Envelope(f"deliver.{member}.{label.lane}.{label.id}", raw, made.digest)
