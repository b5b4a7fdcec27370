"""What the vectors show beside `test_envelope`: every further form, and every further way of wrong.

Each is built from real keys by the code that seals, so that just the one thing named is wrong.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

from broker.envelope.decision import commitments, encode_delivery, sign_decision
from broker.envelope.officer import make_audience
from broker.envelope.padding import MAX_CONTENT_BYTES, padme
from broker.envelope.seal import Recipient, seal
from broker.envelope.signed import stanza_info
from broker.envelope.slots import Slot, parse_entries
from broker.envelope.submitted import deliver, parse_submitted
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.symmetric import KEY_BYTES, gcm_seal
from schemas import canonical
from schemas.content import Content, OfficerBlock
from schemas.control import (
    ControlMessage,
    PairState,
    Rejected,
    Told,
    control_intent,
    encode_control,
    kind_of,
)
from schemas.decision import VerdictRecord
from schemas.label import Label, Reference, Sender
from schemas.moments import milliseconds
from schemas.receipt import (
    NOTICE_CONTEXT,
    DecisionReceipt,
    Notice,
    NoticeReceipt,
    TemporaryRefusal,
    Where,
    encode_receipt,
)
from schemas.vocabulary import Kind, Status
from tests.envelope import test_envelope as cases
from tests.support.envelopes import decide, delivery, seal_content
from tests.support.labels import uuid7_at

NOW = cases.REGION.now
DAY = timedelta(days=1)
Differences: TypeAlias = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Vector:
    """One case: bytes in a form, who reads them, and what comes of it.

    Attributes:
        code: Why it is refused; empty if it is not.
        member: Who opens it.
        directory: How what the directory says differs: of a key by its name among the vectors'
            keys, of a member by its code; "" for a member that it does not know.
    """

    name: str
    form: str
    raw: bytes
    code: str
    member: str = "MY"
    directory: Differences = field(default_factory=dict)


UNSHOWN: Final = {
    "too-large": "half a megabyte of any bytes; test_envelope shows it",
    "content-too-large": "more than four megabytes once decompressed; test_vectors builds it",
    "suite-mismatch": "there is one suite: another is `unknown-suite`, which is shown",
    "unknown-type": "no envelope is refused for it: what is not read travels on unopened",
}
"""Codes without a vector, each with its reason."""


# --- forms: whole envelopes under another hand ---


def _submitted(parts: cases.Wire) -> bytes:
    return canonical.encode(cases.resigned(parts))


def _copy(parts: cases.Wire) -> bytes:
    return deliver(parse_submitted(_submitted(parts)), "MY")


def _other_pair_seq() -> bytes:
    parts = cases.parts_of(cases.COPY)
    parts[4] = [parts[4][0], parts[4][1], [1, 99], *parts[4][3:]]
    return canonical.encode(parts)


def _shown_unasked() -> bytes:
    """A copy that carries another recipient's slot, which the label does not disclose."""
    parts, whole = cases.parts_of(cases.COPY), cases.parts_of(cases.RAW)
    parts[6] = whole[4]
    return canonical.encode(parts)


def _hidden_though_disclosed() -> bytes:
    made = cases.make(cases.REGION, disclose_recipients=True)
    parts = cases.parts_of(deliver(parse_submitted(made.sealed.raw), "MY"))
    entries = parse_entries(parts[6])
    parts[6] = [entry.hash if isinstance(entry, Slot) else entry for entry in entries]
    return canonical.encode(parts)


def _sealed_to_no_key_of_theirs() -> bytes:
    sender = cases.REGION.members["SG"]
    _, key = cases.REGION.view.encryption_key("MY", at=NOW)
    random = cases.MADE.audience.openings["MY"]
    sealed = seal(
        cases.MADE.label,
        cases.MADE.content.to_bytes(),
        recipients=[Recipient("MY", (1, 1), bytes(16), key, random)],
        node_kid=sender.kid,
        node_key=sender.sign_key,
    )
    return deliver(parse_submitted(sealed.raw), "MY")


def _bad_ciphertext() -> bytes:
    parts = cases.parts_of(cases.RAW)
    parts[6] = parts[6][:-1] + bytes([parts[6][-1] ^ 1])
    return _copy(parts)


def _content_key() -> bytes:
    """The content key of `RAW`, as MY learns it from its stanza."""
    parts = cases.parts_of(cases.COPY)
    kid = parts[4][1]
    info = stanza_info(parts[2], "MY", kid)
    return cases.REGION.members["MY"].open_keys[kid].open(parts[5], info=info)[:KEY_BYTES]


def padded_as(padded: bytes) -> bytes:
    """The copy whose content is just these padded bytes."""
    parts = cases.parts_of(cases.RAW)
    parts[6] = gcm_seal(_content_key(), padded, aad=sha256(parts[2]))
    return _copy(parts)


def framed(stream: bytes) -> bytes:
    """A stream with its length, and zeros up to the Padmé length."""
    raw = len(stream).to_bytes(4, "big") + stream
    return raw.ljust(padme(len(raw)), b"\0")


def _unpadded() -> bytes:
    stream = zlib.compress(random_bytes(700))
    return len(stream).to_bytes(4, "big") + stream


def _another_sender() -> bytes:
    parts = cases._label(cases.parts_of(cases.RAW), sender={"agency": "POLICE", "member": "PH"})
    return _submitted(parts)


# --- decisions and deliveries ---


def _delivery(**changes: Any) -> bytes:  # noqa: ANN401 - fields of the header
    return _decided(changes, lambda record: record)


def _decided(header: dict[str, Any], change: Callable[[VerdictRecord], VerdictRecord]) -> bytes:
    """MY's delivery under a decision that differs from the right one."""
    region, submitted = cases.REGION, parse_submitted(cases.RAW)
    right = decide(region, cases.RAW)
    records = {record.slot: change(record) for record in right.records}
    hashes, openings = commitments(submitted.frame.entries, records)
    altered = replace(right.header, **{"slots": hashes, **header})
    signed = sign_decision(altered, openings, kid=region.gateway_kid, key=region.gateway_sign_key)
    return encode_delivery(cases.COPY, signed, "MY")


def _opened_wrongly() -> bytes:
    """A verdict that was altered after the gateway had committed to it."""
    decision = decide(cases.REGION, cases.RAW)
    openings = tuple(
        None
        if opening is None
        else type(opening).of(replace(opening.record, rule="another rule"), opening.salt)
        for opening in decision.openings
    )
    return encode_delivery(cases.COPY, replace(decision, openings=openings), "MY")


def _wrong_signature() -> bytes:
    decision = replace(decide(cases.REGION, cases.RAW), signature=bytes(64))
    return encode_delivery(cases.COPY, decision, "MY")


def _another_salt(name: str) -> bytes:
    """A salt under which no leaf of the log is about the decision."""
    decision = decide(cases.REGION, cases.RAW)
    salts = replace(decision.salts, **{name: bytes(32)})
    return encode_delivery(cases.COPY, replace(decision, salts=salts), "MY")


def _refused(record: VerdictRecord) -> VerdictRecord:
    if record.recipient != "MY":
        return record
    return replace(record, accepted=False, code="policy-import-default")


def _another_number(record: VerdictRecord) -> VerdictRecord:
    return replace(record, pair_seq=(record.pair_seq[0], 99))


# --- controls, receipts and notices ---

REF = Reference(id=cases.MADE.label.id, digest=cases.MADE.sealed.digest)
STATE = PairState(at=NOW, incarnation=1, since=3, highest=9, void=((4, 5),), pending=((7, 7),))
CONTROLS: tuple[ControlMessage, ...] = (
    Told(Kind.DELIVERED, NOW),
    Told(Kind.OPENED, NOW),
    Told(Kind.PURGED, NOW),
    Rejected(NOW, "facts-understated"),
    STATE,
)


def control(content: Content, kind: Kind) -> bytes:
    """What MY's node tells SG's under a control's label."""
    meant = control_intent(
        kind,
        sender=Sender(member="MY", agency="RMP"),
        ref=None if kind is Kind.PAIR_STATE else REF,
        status=Status.ACTUAL,
        now=NOW,
    )
    label = Label.from_intent(meant, id=uuid7_at(NOW), directory=cases.REGION.view.version)
    sealed = seal_content(cases.REGION, label, content, make_audience(["SG"]))
    return deliver(parse_submitted(sealed.raw), "SG")


def _signed_control() -> bytes:
    block = OfficerBlock(bytes(16), bytes(64), tuple(random_bytes(32) for _ in range(16)))
    return control(Content(encode_control(Told(Kind.DELIVERED, NOW)), block), Kind.DELIVERED)


def notice(signature: bytes | None = None) -> bytes:
    """That MY's copy left unread, as its sender gets it."""
    said = Notice(
        Where.EXPIRED, REF.id, REF.digest, "SG", "MY", milliseconds(NOW + 90 * DAY)
    ).to_bytes()
    key = cases.REGION.gateway_sign_key
    signed = key.sign(NOTICE_CONTEXT + said) if signature is None else signature
    return encode_receipt(NoticeReceipt(said, cases.REGION.gateway_kid, signed))


def _receipts() -> list[Vector]:
    decision = decide(cases.REGION, cases.RAW).to_bytes()
    copies = (("MY", Where.STORED), ("VN", Where.HELD))
    temporary = TemporaryRefusal(REF.id, REF.digest, "quota", 30)
    told = encode_receipt(DecisionReceipt(decision, copies))
    unread = canonical.encode([1, "decision", decision, [["MY", "lost"]]])
    return [
        Vector("a decision", "decision", decision, ""),
        Vector("the receipt of a decision", "receipt", told, ""),
        Vector("a temporary refusal", "receipt", encode_receipt(temporary), ""),
        Vector("a notice", "receipt", notice(), ""),
        Vector("a place that is none", "receipt", unread, "bad-receipt"),
        Vector("a notice that nobody signed", "receipt", notice(bytes(64)), "bad-signature"),
    ]


def _controls() -> list[Vector]:
    good = [
        Vector(
            f"the control {kind_of(message)}",
            "delivered",
            control(Content(encode_control(message)), kind_of(message)),
            "",
            member="SG",
        )
        for message in CONTROLS
    ]
    other = control(Content(encode_control(Told(Kind.OPENED, NOW))), Kind.DELIVERED)
    unread = control(Content(canonical.encode({"v": 1})), Kind.DELIVERED)
    wrong = [
        ("a control of another kind", other, "bad-control"),
        ("a control that says nothing", unread, "bad-control"),
        ("a control that an officer signed", _signed_control(), "officer-unexpected"),
    ]
    return [*good, *(Vector(n, "delivered", raw, code, member="SG") for n, raw, code in wrong)]


def _contents() -> list[Vector]:
    stream = zlib.compress(b"x" * 10)
    wrong = [
        ("own slot not signed", _other_pair_seq(), "wrong-slot"),
        ("recipients shown unasked", _shown_unasked(), "recipients-withheld"),
        ("recipients hidden though disclosed", _hidden_though_disclosed(), "recipients-withheld"),
        ("sealed to a key nobody holds", _sealed_to_no_key_of_theirs(), "no-open-key"),
        ("another label", _copy(cases._label(cases.parts_of(cases.RAW), rev=2)), "cannot-open"),
        (
            "another commit",
            _copy(cases.SIGNED["another commit"](cases.parts_of(cases.RAW))),
            "wrong-commit",
        ),
        ("ciphertext damaged, signed anew", _bad_ciphertext(), "bad-ciphertext"),
        ("no padding", padded_as(_unpadded()), "bad-padding"),
        ("a byte in the padding", padded_as(framed(stream)[:-1] + b"\1"), "bad-padding"),
        ("no zlib stream", padded_as(framed(b"no stream")), "bad-compression"),
        ("two streams", padded_as(framed(stream + stream)), "bad-compression"),
        ("a stream cut short", padded_as(framed(stream[:-3])), "bad-compression"),
        ("beyond 100:1", padded_as(framed(zlib.compress(bytes(100_000)))), "too-compressed"),
    ]
    found = [Vector(f"inside: {name}", "delivered", raw, code) for name, raw, code in wrong]
    return [*found, Vector("the copy of MY", "delivered", cases.COPY, "wrong-recipient", "VN")]


def _deliveries() -> list[Vector]:
    good = delivery(cases.REGION, cases.RAW, "MY")
    parts = cases.parts_of(good)
    wrong = [
        ("no delivery", canonical.encode([2, *parts[1:]]), "bad-delivery"),
        ("no decision", canonical.encode([*parts[:2], b"\x90"]), "bad-decision"),
        ("another digest", _delivery(digest=random_bytes(32)), "decision-mismatch"),
        ("another status", _delivery(status=Status.EXERCISE), "decision-mismatch"),
        ("another slot", _decided({}, _another_number), "decision-mismatch"),
        ("a verdict that refuses", _decided({}, _refused), "not-accepted"),
        ("an altered verdict", _opened_wrongly(), "opening-mismatch"),
        ("nobody's signature", _wrong_signature(), "bad-signature"),
        ("another route salt", _another_salt("route"), "bad-signature"),
        ("another body salt", _another_salt("body"), "bad-signature"),
    ]
    return [Vector(f"decision: {name}", "delivery", raw, code) for name, raw, code in wrong]


def _standings() -> list[Vector]:
    def days(number: int) -> str:
        return (NOW + number * DAY).isoformat()

    def revoked(day: int, reason: str) -> dict[str, str]:
        return {"revoked_at": days(day), "reason": reason}

    later, ended = {"not_before": days(1)}, {"not_after": days(-1)}
    table: list[tuple[str, str, Differences]] = []
    for name, subject in (("sg_node", "key"), ("sg_officer", "officer"), ("gateway", "key")):
        table += [
            (f"{subject}-not-yet-valid", name, {name: later}),
            (f"{subject}-expired", name, {name: ended}),
            (f"{subject}-revoked", name, {name: revoked(-1, "superseded")}),
            (f"{subject}-revoked-since", name, {name: revoked(1, "compromised")}),
            ("", name, {name: revoked(1, "superseded")}),
        ]
    table += [
        ("member-suspended", "SG", {"SG": {"suspended_at": days(-1), "reason": "suspended"}}),
        ("member-lapsed", "SG", {"SG": {"lapses_at": days(-1)}}),
        ("officer-role", "sg_officer", {"sg_officer": {"role": "auditor"}}),
        ("unknown-key", "sg_node", {"sg_node": {"key": random_bytes(32).hex()}}),
    ]
    deliveries = delivery(cases.REGION, cases.RAW, "MY")
    return [
        Vector(
            f"standing of {of}: {code or 'superseded since'}",
            "delivery" if of == "gateway" else "delivered",
            deliveries if of == "gateway" else cases.COPY,
            code,
            directory=differs,
        )
        for code, of, differs in table
    ] + [Vector("a member nobody knows", "submitted", _another_sender(), "unknown-member")]


def more_vectors() -> list[Vector]:
    """All of them; sealing is random, so no two calls give the same bytes."""
    return [*_receipts(), *_controls(), *_contents(), *_deliveries(), *_standings()]


def too_much_content() -> bytes:
    """A copy that decompresses to more than is ever carried."""
    return padded_as(framed(zlib.compress(random_bytes(60_000) + bytes(MAX_CONTENT_BYTES))))
