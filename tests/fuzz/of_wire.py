"""Parsers of what travels between members and hub: envelopes, decisions, receipts, controls."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from broker.admission.judge import Arrival, Situation, read
from broker.envelope import padding, wire
from broker.envelope.decision import Delivery, decision_in, parse_delivery
from broker.envelope.delivered import Delivered, open_stanza, parse_delivered
from broker.envelope.errors import EnvelopeError
from broker.envelope.signed import stanza_info
from broker.envelope.slots import to_wire
from broker.envelope.submitted import Submitted, parse_submitted
from broker.gateway.directory import DirectoryInForce
from broker.hub.chunkheads import parse_head
from broker.transport.attaching import Attaching, read_asked
from broker.transport.services import piece_for, read_fields
from keys.kid import kid_of
from keys.primitives.sealing import OpenKey
from schemas import canonical
from schemas.attachment import decode_manifests, encode_manifests
from schemas.content import encode_alert, parse_content, read_alert
from schemas.control import encode_control, parse_control
from schemas.decision import parse_decision, parse_header, parse_record
from schemas.label import parse_label
from schemas.receipt import encode_receipt, parse_notice, parse_receipt
from tests.fuzz.parser import Parser, to_bytes

ID = "019a6500-0000-7000-8000-000000000001"


def submitted_again(found: Submitted) -> bytes:
    parts = found.frame
    slots = to_wire(parts.entries)
    stanzas: list[canonical.Value] = list(found.stanzas.values())
    head = [wire.WIRE_VERSION, parts.suite, parts.label_bytes, parts.commit, slots, stanzas]
    return wire.join(head, parts.ciphertext, [parts.kid, parts.signature])


def delivered_again(found: Delivered) -> bytes:
    parts = found.frame
    own: list[canonical.Value] = [found.slot.to_wire(), found.stanza, to_wire(parts.entries)]
    head = [wire.WIRE_VERSION, parts.suite, parts.label_bytes, parts.commit, *own]
    return wire.join(head, parts.ciphertext, [parts.kid, parts.signature])


def delivery_again(found: Delivery) -> bytes:
    return canonical.encode([1, found.delivered_bytes, found.decision.to_bytes()])


@cache
def situation() -> Situation:
    """The directory of the envelope's kept vectors, at their time."""
    from tests.envelope import test_vectors as kept  # noqa: PLC0415 - it makes keys
    from tests.support.gateway import Source  # noqa: PLC0415

    return DirectoryInForce.read(Source(kept.VIEW)).situation(kept.NOW)


def arrived(raw: bytes) -> object:
    return read(Arrival(raw, "SG", "urgent", ID), situation())


@cache
def opened() -> tuple[Delivered, Mapping[bytes, OpenKey]]:
    """A kept copy for SG, and what opens it."""
    from tests.envelope import test_vectors as kept  # noqa: PLC0415 - it makes keys

    good = next(
        bytes.fromhex(each["raw"])
        for each in kept.KEPT["vectors"]
        if each["form"] == "delivered" and not each["code"]
    )
    found = parse_delivered(good)
    key = kept.OPEN[found.slot.recipient]
    return found, {kid_of(key.public.raw): key}


def stanza(raw: bytes) -> object:
    """What a recipient's node does with a stanza, and with what a hostile sender sealed in one."""
    found, keys = opened()
    (key,) = keys.values()
    slot = found.slot
    with suppress(EnvelopeError):
        open_stanza(replace(found, stanza=raw), slot.recipient, keys)
    info = stanza_info(found.frame.label_bytes, slot.recipient, slot.kid)
    given = replace(found, stanza=key.public.seal(raw, info=info))
    return open_stanza(given, slot.recipient, keys)


_ENVELOPE = (
    "broker.envelope.wire.split",
    "broker.envelope.slots.parse_entries",
    "broker.envelope.slots.parse_slot",
    "schemas.label.parse_label",
)
_DECISION = (
    "schemas.decision.parse_decision",
    "schemas.decision.parse_header",
    "schemas.decision.parse_record",
)
WIRE = (
    Parser(
        "canonical",
        partial(canonical.decode, max_bytes=2**20),
        ("schemas.canonical.decode", "schemas.canonical.unpack"),
        canonical.encode,
        "canonical",
        wire=True,
    ),
    Parser(
        "submitted",
        parse_submitted,
        ("broker.envelope.submitted.parse_submitted", *_ENVELOPE),
        submitted_again,
        "canonical",
        wire=True,
    ),
    Parser(
        "delivered",
        parse_delivered,
        ("broker.envelope.delivered.parse_delivered", *_ENVELOPE),
        delivered_again,
        "canonical",
        wire=True,
    ),
    Parser(
        "delivery",
        parse_delivery,
        ("broker.envelope.decision.parse_delivery", "broker.envelope.decision._parts", *_DECISION),
        delivery_again,
        "canonical",
        wire=True,
    ),
    Parser(
        "delivery-decision",
        decision_in,
        ("broker.envelope.decision.decision_in",),
        form="canonical",
        like="delivery",
        wire=True,
    ),
    Parser(
        "stanza",
        stanza,
        ("broker.envelope.delivered.open_stanza",),
        wire=True,
    ),
    Parser(
        "arrival",
        arrived,
        ("broker.admission.judge.read",),
        form="canonical",
        like="submitted",
        examples=30,
        wire=True,
    ),
    Parser(
        "label", parse_label, ("schemas.label.parse_label",), to_bytes, "canonical", wire=True
    ),
    Parser(
        "header", parse_header, ("schemas.decision.parse_header",), to_bytes, "canonical",
        wire=True,
    ),
    Parser(
        "record", parse_record, ("schemas.decision.parse_record",), to_bytes, "canonical",
        wire=True,
    ),
    Parser("decision", parse_decision, _DECISION, to_bytes, "canonical", wire=True),
    Parser(
        "content", parse_content, ("schemas.content.parse_content",), to_bytes, "canonical",
        wire=True,
    ),
    Parser("padded", padding.unpack, ("broker.envelope.padding.unpack",), wire=True),
    *(
        Parser(
            f"alert-{name}",
            partial(read_alert, name, 1),
            ("schemas.content.read_alert",),
            encode_alert,
            "canonical",
            wire=True,
        )
        for name in ("drugs", "trafficking", "cyber")
    ),
    Parser(
        "manifests",
        decode_manifests,
        ("schemas.attachment.decode_manifests",),
        encode_manifests,
        "canonical",
        wire=True,
    ),
    *(
        Parser(
            f"attachment-{what}",
            partial(read_asked, what),
            ("broker.transport.attaching.read_asked",),
            form="canonical",
            wire=True,
        )
        for what in Attaching
    ),
    Parser(
        "chunks-head",
        parse_head,
        ("broker.hub.chunkheads.parse_head",),
        to_bytes,
        "canonical",
    ),
    Parser(
        "receipt", parse_receipt, ("schemas.receipt.parse_receipt",), encode_receipt, "canonical",
        wire=True,
    ),
    Parser(
        "notice", parse_notice, ("schemas.receipt.parse_notice",), to_bytes, "canonical", wire=True
    ),
    Parser(
        "control", parse_control, ("schemas.control.parse_control",), encode_control, "canonical",
        wire=True,
    ),
    Parser(
        "service",
        read_fields,
        ("broker.transport.services.read_fields",),
        lambda found: canonical.encode(dict(found)),
        "canonical",
        wire=True,
    ),
    Parser(
        "offset",
        lambda raw: piece_for(b"kentong" * 9, raw),
        ("broker.transport.services.piece_for",),
        form="canonical",
        wire=True,
    ),
)  # fmt: skip
