"""The kept vectors: each form opens, each way of being wrong gets its code."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.envelope.decision import check_accepted, parse_delivery, verify_decision
from broker.envelope.delivered import open_delivered, parse_delivered
from broker.envelope.errors import CODES, EnvelopeError
from broker.envelope.submitted import parse_submitted
from keys.directory.view import DirectoryView
from keys.errors import SignatureError
from keys.kid import kid_of
from keys.primitives.sealing import OpenKey
from schemas.control import kind_of
from schemas.decision import parse_decision
from schemas.directory import (
    EncryptionKey,
    Officer,
    OfficerRole,
    Revocation,
    RevocationReason,
    Validity,
    VerificationKey,
)
from schemas.errors import SchemaError
from schemas.receipt import NOTICE_CONTEXT, NoticeReceipt, parse_notice, parse_receipt
from schemas.vocabulary import Kind
from tests.envelope import test_envelope as cases
from tests.envelope.wrong import UNSHOWN, too_much_content
from tests.support.region import TestRegion, make_region

KEPT = json.loads(Path(__file__).with_name("vectors.json").read_text())
KEYS = KEPT["keys"]
RAW = {vector["name"]: vector["raw"] for vector in KEPT["vectors"] if "raw" in vector}
NOW = datetime.fromisoformat(KEYS["now"])
YEAR = timedelta(days=365)
OPEN = {code: OpenKey(bytes.fromhex(KEYS[f"{code.lower()}_open"])) for code in ("SG", "MY")}
REGION = make_region(("SG", "MY", "VN", "TH"), now=NOW)
Differences = Mapping[str, Mapping[str, str]]


def view(differs: Differences) -> DirectoryView:
    """The directory of the vectors, from the public keys kept with them."""

    def fields(name: str) -> dict[str, Any]:
        given = differs.get(name, {})
        moments: dict[str, Any] = {
            "not_before": NOW - YEAR,
            "not_after": NOW + YEAR,
            **{
                at: datetime.fromisoformat(given[at])
                for at in Validity.model_fields
                if at in given and at != "reason"
            },
        }
        if "reason" in given:
            moments["reason"] = RevocationReason(given["reason"])
        return {"key": bytes.fromhex(given.get("key", KEYS[name])), **moments}

    role = OfficerRole(differs.get("sg_officer", {}).get("role", "officer"))
    officer = Officer(id="SG-7Q4", roles=(role,), **fields("sg_officer"))
    region = REGION
    for code in ("SG", "MY"):
        node = VerificationKey(**fields(f"{code.lower()}_node"))
        region = replace(region, view=_with_keys(region, code, node, officer, differs))
    hub = region.view.hub.model_copy(
        update={"gateway_keys": (VerificationKey(**fields("gateway")),)}
    )
    return replace(region.view, hub=hub)


def _with_keys(
    region: TestRegion, code: str, node: VerificationKey, officer: Officer, differs: Differences
) -> DirectoryView:
    epoch = EncryptionKey(
        key=OPEN[code].public.raw,
        epoch="2026-11",
        not_before=NOW - timedelta(days=20),
        not_after=NOW + timedelta(days=20),
    )
    said = differs.get(code, {})
    cut = ()
    if "suspended_at" in said:
        at = datetime.fromisoformat(said["suspended_at"])
        cut = (Revocation(member=code, at=at, reason=RevocationReason(said["reason"])),)
    changed = region.changed(
        code,
        document=lambda old: old.model_copy(
            update={"verification_keys": (node,), "encryption_keys": (epoch,)}
        ),
        officers=lambda old: old.model_copy(
            update={"officers": (officer,)} if code == "SG" else {}
        ),
        revocations=cut,
    )
    if "lapses_at" not in said:
        return changed
    lapsing = replace(changed.member(code), lapses_at=datetime.fromisoformat(said["lapses_at"]))
    return replace(changed, member_views={**changed.member_views, code: lapsing})


VIEW = view({})


def opens(raw: bytes, member: str, seen: DirectoryView) -> None:
    held = OPEN.get(member)
    opened = open_delivered(
        parse_delivered(raw),
        member=member,
        open_keys={} if held is None else {kid_of(held.public.raw): held},
        view=seen,
        at=NOW,
    )
    assert (opened.control is None) == (opened.alert is not None)


def read_receipt(raw: bytes, seen: DirectoryView) -> None:
    receipt = parse_receipt(raw)
    if isinstance(receipt, NoticeReceipt):
        said = parse_notice(receipt.notice)
        key = seen.gateway_key(receipt.kid, at=NOW)
        try:
            key.verify(receipt.signature, NOTICE_CONTEXT + receipt.notice)
        except SignatureError:
            raise EnvelopeError("bad-signature", "the notice is not the hub's") from None
        assert said.recipient == "MY"


def read(vector: Mapping[str, Any]) -> None:
    seen = view(vector["directory"]) if "directory" in vector else VIEW
    raw = bytes.fromhex(vector.get("raw") or RAW[vector["raw_of"]])
    member = vector.get("member", "MY")
    match vector["form"]:
        case "submitted":
            parse_submitted(raw).frame.verify(seen, at=NOW)
        case "delivered":
            opens(raw, member, seen)
        case "delivery":
            check_accepted(parse_delivery(raw), seen, member=member)
        case "decision":
            verify_decision(parse_decision(raw), seen)
        case "receipt":
            read_receipt(raw, seen)
        case form:
            pytest.fail(f"no form is called {form}")


@pytest.mark.parametrize("vector", KEPT["vectors"], ids=lambda vector: vector["name"])
def test_each_vector_is_judged_as_it_says(vector: dict[str, Any]) -> None:
    if not vector["code"]:
        read(vector)
        return
    with pytest.raises((EnvelopeError, SchemaError)) as caught:
        read(vector)
    assert caught.value.code == vector["code"]


def test_the_vectors_show_every_code_but_those_with_a_reason() -> None:
    chunks = json.loads(Path(__file__).with_name("chunk_vectors.json").read_text())["wrong"]
    shown = {vector["code"] for vector in (*KEPT["vectors"], *chunks)}
    assert sorted(CODES - shown) == sorted(UNSHOWN)


def test_the_vectors_show_every_form_and_every_control() -> None:
    good = [vector for vector in KEPT["vectors"] if not vector["code"]]
    forms = {"submitted", "delivered", "delivery", "decision", "receipt"}
    assert {vector["form"] for vector in good} == forms
    controls = set[Kind]()
    for vector in good:
        if vector.get("member") == "SG":
            raw = parse_delivered(bytes.fromhex(vector["raw"]))
            opened = open_delivered(
                raw,
                member="SG",
                open_keys={kid_of(OPEN["SG"].public.raw): OPEN["SG"]},
                view=VIEW,
                at=NOW,
            )
            assert opened.control is not None
            controls.add(kind_of(opened.control))
    assert controls == {kind for kind in Kind if kind.is_control}


def test_content_beyond_its_bound_is_refused_while_it_decompresses() -> None:
    raw = too_much_content()
    with pytest.raises(EnvelopeError) as caught:
        cases.opened(raw)
    assert caught.value.code == "content-too-large"
