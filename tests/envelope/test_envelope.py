"""Sealing, delivering and opening, and every way in which it must fail."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.envelope import wire
from broker.envelope.decision import check_accepted, parse_delivery
from broker.envelope.delivered import Opened, open_delivered, parse_delivered
from broker.envelope.errors import CODES, EnvelopeError
from broker.envelope.officer import Audience, make_audience, officer_signed_bytes
from broker.envelope.padding import MAX_PADDED_BYTES, pack, padme, unpack
from broker.envelope.seal import Recipient, seal
from broker.envelope.signed import SUITE, signed_bytes
from broker.envelope.slots import parse_entries
from broker.envelope.submitted import deliver, parse_submitted
from keys.directory.view import DirectoryView
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import SignKey
from schemas import canonical
from schemas.attachment import Manifest
from schemas.common import Alert
from schemas.content import Content, OfficerBlock
from schemas.control import Told, control_intent, encode_control
from schemas.label import Facts, Label, Reference, Sender
from schemas.vocabulary import Kind, Precedence, Status
from tests.support.alerts import every_alert
from tests.support.envelopes import (
    an_alert,
    delivery,
    label_for,
    make,
    seal_content,
    signed_content,
)
from tests.support.labels import NOTHING, uuid7_at
from tests.support.region import make_region

REGION = make_region()
MADE = make(REGION)
RAW = MADE.sealed.raw
COPY = deliver(parse_submitted(RAW), "MY")
FILM = Manifest("film.mp4", "video/mp4", 700_000, bytes([1]) * 32)
PERSONAL = Facts(personal_data=True, victim=False, minor=False, biometrics=False)


def opened(raw: bytes, member: str = "MY", view: DirectoryView | None = None) -> Opened:
    return open_delivered(
        parse_delivered(raw),
        member=member,
        open_keys=REGION.members[member].open_keys,
        view=view or REGION.view,
        at=REGION.now,
    )


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
def test_every_type_of_alert_arrives_as_it_was_sent(alert: Alert) -> None:
    made = make(
        REGION,
        ("MY", "VN", "TH"),
        alert=alert,
        precedence=Precedence.FLASH,
    )
    submitted = parse_submitted(made.sealed.raw)
    submitted.frame.verify(REGION.view, at=REGION.now)
    assert sorted(submitted.recipients()) == ["MY", "TH", "VN"]
    for member in submitted.recipients():
        got = opened(deliver(submitted, member), member)
        assert got.alert == alert
        assert got.label == made.label
        assert got.officer is not None
        assert got.officer.id == "SG-7Q4"
        assert got.disclosed == ()
        assert parse_delivered(deliver(submitted, member)).frame.digest == made.sealed.digest


def test_recipients_show_to_each_other_only_if_the_originator_discloses_them() -> None:
    hidden = parse_delivered(COPY)
    assert hidden.disclosed == ()
    assert canonical.encode("VN") not in COPY  # three bytes: two come by chance
    made = make(REGION, disclose_recipients=True)
    assert opened(deliver(parse_submitted(made.sealed.raw), "MY")).disclosed == ("MY", "VN")


def test_a_delivery_carries_the_verdict_on_this_copy_alone() -> None:
    found = parse_delivery(delivery(REGION, RAW, "MY"))
    assert check_accepted(found, REGION.view, member="MY") == REGION.now
    assert [record.recipient for record in found.decision.records] == ["MY"]
    with pytest.raises(EnvelopeError) as caught:
        check_accepted(found, REGION.view, member="VN")
    assert caught.value.code == "not-accepted"


def test_the_decision_of_another_envelope_does_not_fit() -> None:
    other = make(REGION, tail=2)
    decision = canonical.decode(delivery(REGION, other.sealed.raw, "MY"), max_bytes=600_000)
    assert isinstance(decision, list)
    mixed = parse_delivery(canonical.encode([1, COPY, decision[2]]))
    with pytest.raises(EnvelopeError) as caught:
        check_accepted(mixed, REGION.view, member="MY")
    assert caught.value.code == "decision-mismatch"


def test_a_decision_by_a_key_that_is_no_gateways_is_refused() -> None:
    forged = replace(REGION, gateway_sign_key=SignKey.generate())
    found = parse_delivery(delivery(forged, RAW, "MY"))
    with pytest.raises(EnvelopeError) as caught:
        check_accepted(found, REGION.view, member="MY")
    assert caught.value.code == "unknown-key"


def test_a_control_arrives_without_an_officer() -> None:
    now = REGION.now
    intent = control_intent(
        Kind.DELIVERED,
        sender=Sender(member="MY", agency="RMP"),
        ref=Reference(id=MADE.label.id, digest=MADE.sealed.digest),
        status=Status.ACTUAL,
        now=now,
    )
    label = Label.from_intent(intent, id=uuid7_at(now), directory=REGION.view.version)
    content = Content(encode_control(Told(Kind.DELIVERED, now)))
    sealed = seal_content(REGION, label, content, make_audience(["SG"]))
    got = opened(deliver(parse_submitted(sealed.raw), "SG"), "SG")
    assert got.control == Told(Kind.DELIVERED, now)
    assert got.officer is None
    wrong = seal_content(
        REGION, label, Content(encode_control(Told(Kind.OPENED, now))), make_audience(["SG"])
    )
    with pytest.raises(EnvelopeError) as caught:
        opened(deliver(parse_submitted(wrong.raw), "SG"), "SG")
    assert caught.value.code == "bad-control"


Wire = list[Any]


def parts_of(raw: bytes) -> Wire:
    value = canonical.decode(raw, max_bytes=600_000)
    assert isinstance(value, list)
    return value


def resigned(parts: Wire) -> Wire:
    """The submitted form, signed again by the honest sender's key."""
    sender = REGION.members["SG"]
    entries = parse_entries(parts[4])
    message = signed_bytes(SUITE, sender.kid, parts[2], parts[3], entries, parts[6])
    return [*parts[:7], [sender.kid, sender.sign_key.sign(message)]]


def _swap_stanzas(parts: Wire) -> Wire:
    return [*parts[:5], parts[5][::-1], *parts[6:]]


def _foreign_stanza(parts: Wire) -> Wire:
    other = parts_of(make(REGION, tail=9).sealed.raw)
    return [*parts[:5], other[5], *parts[6:]]


def _twice(parts: Wire) -> Wire:
    slots = list(parts[4])
    place = next(n for n, slot in enumerate(slots) if isinstance(slot, list))
    dummy = next(n for n, slot in enumerate(slots) if isinstance(slot, bytes))
    copy = list(slots[place])
    copy[4] = random_bytes(32)
    slots[dummy] = copy
    return [*parts[:4], slots, *parts[5:]]


def _same_hash_twice(parts: Wire) -> Wire:
    slots = list(parts[4])
    dummies = [n for n, slot in enumerate(slots) if isinstance(slot, bytes)]
    slots[dummies[0]] = slots[dummies[1]]
    return [*parts[:4], slots, *parts[5:]]


def _label(parts: Wire, **changes: canonical.Value) -> Wire:
    label = canonical.decode(parts[2], max_bytes=8192)
    assert isinstance(label, dict)
    return [*parts[:2], canonical.encode({**label, **changes}), *parts[3:]]


def _slot(parts: Wire, field: int, value: canonical.Value) -> Wire:
    slots = list(parts[4])
    place = next(n for n, slot in enumerate(slots) if isinstance(slot, list))
    slots[place] = [*slots[place][:field], value, *slots[place][field + 1 :]]
    return [*parts[:4], slots, *parts[5:]]


FORMS: dict[str, tuple[Callable[[Wire], Wire], str]] = {
    "wire version": (lambda p: [2, *p[1:]], "unknown-wire-version"),
    "a version that is no number": (lambda p: [None, *p[1:]], "unknown-wire-version"),
    "suite": (lambda p: [p[0], 2, *p[2:]], "unknown-suite"),
    "label version": (lambda p: _label(p, v=2), "unknown-label-version"),
    "label field": (lambda p: _label(p, colour="red"), "bad-label"),
    "label code": (lambda p: _label(p, tlp="pink"), "bad-label"),
    "short commit": (lambda p: [*p[:3], p[3][:31], *p[4:]], "bad-envelope"),
    "short kid": (lambda p: [*p[:7], [p[7][0][:15], p[7][1]]], "bad-envelope"),
    "a field more": (lambda p: [*p[:7], b"", p[7]], "bad-envelope"),
    "fifteen slots": (lambda p: [*p[:4], p[4][:15], *p[5:]], "bad-slots"),
    "a hash of 31 bytes": (lambda p: [*p[:4], [bytes(31), *p[4][1:]], *p[5:]], "bad-slots"),
    "a slot that is a number": (lambda p: [*p[:4], [7, *p[4][1:]], *p[5:]], "bad-slots"),
    "a slot of four fields": (
        lambda p: [*p[:4], [[b"", b"", b"", b""], *p[4][1:]], *p[5:]],
        "bad-slots",
    ),
    "no recipient": (lambda p: _slot(p, 0, ""), "bad-slots"),
    "a recipient too long": (lambda p: _slot(p, 0, "X" * 17), "bad-slots"),
    "a recipient in small letters": (lambda p: _slot(p, 0, "my"), "bad-slots"),
    "a recipient with a line end": (lambda p: _slot(p, 0, "MY\n"), "bad-slots"),
    "a recipient of bytes": (lambda p: _slot(p, 0, b"MY"), "bad-slots"),
    "a short key id": (lambda p: _slot(p, 1, bytes(15)), "bad-slots"),
    "one number for two": (lambda p: _slot(p, 2, [1]), "bad-slots"),
    "no numbers": (lambda p: _slot(p, 2, []), "bad-slots"),
    "a bool for a number": (lambda p: _slot(p, 2, [1, True]), "bad-slots"),
    "a negative number": (lambda p: _slot(p, 2, [-1, 1]), "bad-slots"),
    "numbers of text": (lambda p: _slot(p, 2, ["1", "1"]), "bad-slots"),
    "a short stanza digest": (lambda p: _slot(p, 3, bytes(31)), "bad-slots"),
    "a long salt": (lambda p: _slot(p, 4, bytes(33)), "bad-slots"),
    "no stanza": (lambda p: [*p[:5], p[5][:1], *p[6:]], "bad-slots"),
    "stanzas swapped": (_swap_stanzas, "stanza-mismatch"),
    "stanzas of another": (_foreign_stanza, "stanza-mismatch"),
    "recipient twice": (_twice, "duplicate-recipient"),
    "hash twice": (_same_hash_twice, "bad-slots"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_wrong_form_is_refused_before_any_signature_is_looked_at(name: str) -> None:
    change, code = FORMS[name]
    with pytest.raises(EnvelopeError) as caught:
        parse_submitted(canonical.encode(change(parts_of(RAW))))
    assert caught.value.code == code


SIGNED: dict[str, Callable[[Wire], Wire]] = {
    "another label": lambda p: _label(p, rev=2),
    "another commit": lambda p: [*p[:3], random_bytes(32), *p[4:]],
    "another dummy": lambda p: [
        *p[:4],
        [random_bytes(32) if isinstance(s, bytes) else s for s in p[4]],
        *p[5:],
    ],
    "another ciphertext": lambda p: [*p[:6], random_bytes(len(p[6])), p[7]],
    "another signature": lambda p: [*p[:7], [p[7][0], random_bytes(64)]],
}


@pytest.mark.parametrize("name", SIGNED)
def test_what_the_node_did_not_sign_is_refused(name: str) -> None:
    changed = parse_submitted(canonical.encode(SIGNED[name](parts_of(RAW))))
    with pytest.raises(EnvelopeError) as caught:
        changed.frame.verify(REGION.view, at=REGION.now)
    assert caught.value.code == "bad-signature"


def test_the_gateway_cannot_give_one_states_copy_to_another() -> None:
    with pytest.raises(EnvelopeError) as caught:
        opened(COPY, "VN")
    assert caught.value.code == "wrong-recipient"


def test_a_slot_that_was_not_signed_is_refused() -> None:
    parts = parts_of(COPY)
    parts[4] = [parts[4][0], parts[4][1], [1, 99], *parts[4][3:]]
    with pytest.raises(EnvelopeError) as caught:
        parse_delivered(canonical.encode(parts))
    assert caught.value.code == "wrong-slot"


def test_one_ciphertext_cannot_say_two_things_to_two_states() -> None:
    parts = resigned([*parts_of(RAW)[:3], random_bytes(32), *parts_of(RAW)[4:]])
    with pytest.raises(EnvelopeError) as caught:
        opened(deliver(parse_submitted(canonical.encode(parts)), "MY"))
    assert caught.value.code == "wrong-commit"


def test_a_stanza_sealed_under_another_label_does_not_open() -> None:
    parts = resigned(_label(parts_of(RAW), rev=2))
    with pytest.raises(EnvelopeError) as caught:
        opened(deliver(parse_submitted(canonical.encode(parts)), "MY"))
    assert caught.value.code == "cannot-open"


def test_a_damaged_ciphertext_does_not_open() -> None:
    parts = parts_of(RAW)
    parts[6] = parts[6][:-1] + bytes([parts[6][-1] ^ 1])
    with pytest.raises(EnvelopeError) as caught:
        opened(deliver(parse_submitted(canonical.encode(resigned(parts))), "MY"))
    assert caught.value.code == "bad-ciphertext"


def sealed_with(content: Content, label: Label, audience: Audience | None = None) -> bytes:
    sealed = seal_content(REGION, label, content, audience or MADE.audience)
    return deliver(parse_submitted(sealed.raw), "MY")


def _block(**changes: Any) -> Content:  # noqa: ANN401 - any field of the block
    assert MADE.content.officer is not None
    return replace(MADE.content, officer=replace(MADE.content.officer, **changes))


def _lifted() -> bytes:
    """Signed content under a label that the officer did not mean."""
    label = label_for(REGION, an_alert(), tlp=MADE.label.tlp, orcon=True)
    return sealed_with(MADE.content, label)


def _sent_on() -> bytes:
    """Signed content sealed to a member for whom the officer did not sign."""
    sealed = seal_content(REGION, MADE.label, MADE.content, make_audience(["MY"]))
    return deliver(parse_submitted(sealed.raw), "MY")


def _system_of_another_member() -> bytes:
    return sealed_with(_block(kid=REGION.members["VN"].officer_kid), MADE.label)


def _understated() -> bytes:
    alert = next(alert for alert in every_alert() if label_for(REGION, alert).facts.personal_data)
    low = NOTHING
    label = label_for(REGION, alert, facts=low)
    content, audience = signed_content(REGION, label, alert, ["MY"])
    return sealed_with(content, label, audience)


def _original_not_named() -> bytes:
    content, audience = signed_content(
        REGION, MADE.label, an_alert(), ["MY"], original=b"what nobody named"
    )
    return sealed_with(content, MADE.label, audience)


def _rubbish_alert() -> bytes:
    content, audience = signed_content(REGION, MADE.label, an_alert(), ["MY"])
    member = REGION.members["SG"]
    raw = canonical.encode({"title": "x"})
    message = officer_signed_bytes(
        MADE.label, audience.entries, raw, content.manifests_bytes, member.officer_kid
    )
    block = OfficerBlock(member.officer_kid, member.officer_key.sign(message), audience.entries)
    return sealed_with(Content(raw, block), MADE.label, audience)


def _bad_container() -> bytes:
    sender = REGION.members["SG"]
    kid, key = REGION.view.encryption_key("MY", at=REGION.now)
    sealed = seal(
        MADE.label,
        b"\x90",
        recipients=[Recipient("MY", (1, 1), kid, key, random_bytes(32))],
        node_kid=sender.kid,
        node_key=sender.sign_key,
    )
    return deliver(parse_submitted(sealed.raw), "MY")


def with_files(*manifests: Manifest, **changes: Any) -> bytes:  # noqa: ANN401 - of the label
    """A copy of an alert to which these files are attached."""
    label = label_for(REGION, an_alert(), **{"facts": PERSONAL, **changes})
    content, audience = signed_content(REGION, label, an_alert(), ["MY"], manifests=manifests)
    return sealed_with(content, label, audience)


def _other_files() -> bytes:
    """The node attaches another file than the officer signed."""
    label = label_for(REGION, an_alert(), facts=PERSONAL)
    content, audience = signed_content(REGION, label, an_alert(), ["MY"], manifests=(FILM,))
    other = replace(content, manifests=(replace(FILM, sha256=bytes(32)),))
    return sealed_with(other, label, audience)


def _file_dropped() -> bytes:
    label = label_for(REGION, an_alert(), facts=PERSONAL)
    content, audience = signed_content(REGION, label, an_alert(), ["MY"], manifests=(FILM,))
    return sealed_with(replace(content, manifests=()), label, audience)


def _minor(value: bool) -> Facts:  # noqa: FBT001 - a fact
    return PERSONAL.model_copy(update={"minor": value, "victim": not value})


def test_the_files_of_an_alert_are_what_the_officer_signed() -> None:
    opened_one = opened(with_files(FILM, replace(FILM, name="other.mp4")))
    assert opened_one.content.manifests == (FILM, replace(FILM, name="other.mp4"))
    assert len(opened_one.attachments_key) == 32


INSIDE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no officer": (
        lambda: sealed_with(Content(MADE.content.alert_bytes), MADE.label),
        "officer-missing",
    ),
    "lifted under another label": (_lifted, "officer-mismatch"),
    "lifted to another audience": (_sent_on, "audience-mismatch"),
    "signature damaged": (
        lambda: sealed_with(_block(signature=bytes(64)), MADE.label),
        "officer-mismatch",
    ),
    "vouched for by nobody": (
        lambda: sealed_with(_block(kid=bytes(16)), MADE.label),
        "unknown-officer",
    ),
    "officer of another member": (_system_of_another_member, "unknown-officer"),
    "facts understated": (_understated, "facts-understated"),
    "original not named": (_original_not_named, "original-mismatch"),
    "no alert of its type": (_rubbish_alert, "bad-alert"),
    "no container": (_bad_container, "bad-content"),
    "another file than was signed": (_other_files, "officer-mismatch"),
    "a file left out": (_file_dropped, "officer-mismatch"),
    "a file added": (
        lambda: sealed_with(replace(MADE.content, manifests=(FILM,)), MADE.label),
        "officer-mismatch",
    ),
    "a file not stated as personal data": (
        lambda: with_files(FILM, facts=NOTHING),
        "facts-understated",
    ),
    "a file with a victim": (lambda: with_files(FILM, facts=_minor(False)), "bad-alert"),
    "an image with a minor": (lambda: with_files(FILM, facts=_minor(True)), "bad-alert"),
    "a file with a victim, of a type not read here": (
        lambda: with_files(FILM, facts=_minor(False), type="wildlife"),
        "bad-alert",
    ),
    "a file whose name is a path": (
        lambda: with_files(replace(FILM, name="../x")),
        "bad-content",
    ),
    "a file of another chunk count": (lambda: with_files(replace(FILM, size=0)), "bad-content"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_wrong_content_is_refused_after_opening(name: str) -> None:
    build, code = INSIDE[name]
    raw = build()
    with pytest.raises(EnvelopeError) as caught:
        opened(raw)
    assert caught.value.code == code


def test_an_officer_may_raise_facts() -> None:
    all_true = Facts(personal_data=True, victim=True, minor=True, biometrics=True)
    alert = an_alert()
    label = label_for(REGION, alert, facts=all_true)
    content, audience = signed_content(REGION, label, alert, ["MY"])
    assert opened(sealed_with(content, label, audience)).alert == alert


def test_a_type_not_read_here_stays_sealed_content_of_a_known_officer() -> None:
    label = label_for(REGION, an_alert(), type="wildlife")
    content, audience = signed_content(REGION, label, an_alert(), ["MY"])
    got = opened(sealed_with(content, label, audience))
    assert got.alert is None
    assert got.officer is not None


def test_without_the_epochs_key_nothing_opens() -> None:
    with pytest.raises(EnvelopeError) as caught:
        open_delivered(
            parse_delivered(COPY), member="MY", open_keys={}, view=REGION.view, at=REGION.now
        )
    assert caught.value.code == "no-open-key"


def test_a_key_is_judged_as_of_the_decision() -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse_submitted(RAW).frame.verify(REGION.view, at=REGION.now + timedelta(days=400))
    assert caught.value.code == "key-expired"


def _read_whole(raw: bytes, *, submitted: bool) -> None:
    if submitted:
        parse_submitted(raw).frame.verify(REGION.view, at=REGION.now)
    else:
        opened(raw)


@pytest.mark.parametrize("raw", [RAW, COPY], ids=["submitted", "delivered"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_flipped_bit_survives(raw: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeError) as caught:
        _read_whole(bytes(flipped), submitted=raw is RAW)
    assert caught.value.code in CODES


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=600))
def test_arbitrary_bytes_are_refused_with_a_code(raw: bytes) -> None:
    for parse in (parse_submitted, parse_delivered, parse_delivery):
        with pytest.raises(EnvelopeError) as caught:
            parse(raw)
        assert caught.value.code in CODES


def test_an_envelope_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse_submitted(bytes(wire.MAX_ENVELOPE_BYTES + 1))
    assert caught.value.code == "too-large"


def test_bytes_in_another_encoding_are_refused() -> None:
    not_minimal = b"\x98\xcc\x01" + RAW[2:]
    for raw in (RAW + b"\0", not_minimal, RAW[:-1]):
        with pytest.raises(EnvelopeError) as caught:
            parse_submitted(raw)
        assert caught.value.code == "not-canonical"


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=5000), zeros=st.integers(0, 100_000))
def test_content_comes_back_from_its_padding(content: bytes, zeros: int) -> None:
    whole = content + bytes(zeros)
    padded = pack(whole)
    assert unpack(padded) == whole
    assert padme(len(padded)) == len(padded) <= MAX_PADDED_BYTES


def test_content_that_does_not_fit_names_the_sizes() -> None:
    with pytest.raises(EnvelopeError, match=str(MAX_PADDED_BYTES)) as caught:
        pack(random_bytes(500 * 1024))
    assert caught.value.code == "content-too-large"
