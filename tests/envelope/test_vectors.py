"""The kept vectors: each form opens, each way of being wrong gets its code."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.envelope.decision import check_accepted, parse_delivery
from broker.envelope.delivered import open_delivered, parse_delivered
from broker.envelope.errors import EnvelopeError
from broker.envelope.submitted import parse_submitted
from keys.directory.view import DirectoryView
from keys.kid import kid_of
from keys.primitives.sealing import OpenKey
from schemas.directory import EncryptionKey, Officer, OfficerRole, VerificationKey
from tests.support.region import make_region

KEPT = json.loads(Path(__file__).with_name("vectors.json").read_text())
KEYS = KEPT["keys"]
NOW = datetime.fromisoformat(KEYS["now"])
YEAR = timedelta(days=365)
OPEN = OpenKey(bytes.fromhex(KEYS["my_open"]))


def view() -> DirectoryView:
    """The directory of the vectors, from the public keys kept with them."""
    region = make_region(("SG", "MY", "VN", "TH"), now=NOW)
    gateway = VerificationKey(
        key=bytes.fromhex(KEYS["gateway"]), not_before=NOW - YEAR, not_after=NOW + YEAR
    )
    node = VerificationKey(
        key=bytes.fromhex(KEYS["sg_node"]), not_before=NOW - YEAR, not_after=NOW + YEAR
    )
    officer = Officer(
        id="SG-7Q4",
        key=bytes.fromhex(KEYS["sg_officer"]),
        roles=(OfficerRole.OFFICER,),
        not_before=NOW - YEAR,
        not_after=NOW + YEAR,
    )
    epoch = EncryptionKey(
        key=OPEN.public.raw,
        epoch="2026-11",
        not_before=NOW - timedelta(days=20),
        not_after=NOW + timedelta(days=20),
    )
    first = region.changed(
        "SG",
        document=lambda old: old.model_copy(update={"verification_keys": (node,)}),
        officers=lambda old: old.model_copy(update={"officers": (officer,)}),
    )
    second = replace(region, view=first).changed(
        "MY", document=lambda old: old.model_copy(update={"encryption_keys": (epoch,)})
    )
    hub = second.hub.model_copy(update={"gateway_keys": (gateway,)})
    return replace(second, hub=hub)


VIEW = view()


def read(form: str, raw: bytes) -> None:
    match form:
        case "submitted":
            parse_submitted(raw).frame.verify(VIEW, at=NOW)
        case "delivered":
            open_delivered(
                parse_delivered(raw),
                member="MY",
                open_keys={kid_of(OPEN.public.raw): OPEN},
                view=VIEW,
                at=NOW,
            )
        case "delivery":
            check_accepted(parse_delivery(raw), VIEW, member="MY")
        case _:
            pytest.fail(f"no form is called {form}")


@pytest.mark.parametrize("vector", KEPT["vectors"], ids=lambda vector: vector["name"])
def test_each_vector_is_judged_as_it_says(vector: dict[str, str]) -> None:
    raw = bytes.fromhex(vector["raw"])
    if not vector["code"]:
        read(vector["form"], raw)
        return
    with pytest.raises(EnvelopeError) as caught:
        read(vector["form"], raw)
    assert caught.value.code == vector["code"]


def test_the_vectors_cover_every_kind_of_wrong() -> None:
    codes = {vector["code"] for vector in KEPT["vectors"]}
    assert {
        "",
        "not-canonical",
        "bad-label",
        "unknown-label-version",
        "stanza-mismatch",
        "bad-signature",
        "officer-mismatch",
        "audience-mismatch",
        "facts-understated",
        "bad-content",
    } <= codes
