"""Writes tests/envelope/vectors.json: `python -m tests.envelope.make_vectors` from the root.

Sealing is random, so the vectors are made once and kept; the test reads them with the kept keys.
"""

import json
from pathlib import Path

from broker.envelope.submitted import deliver, parse_submitted
from schemas import canonical
from tests.envelope import test_envelope as cases
from tests.envelope.wrong import Vector, more_vectors
from tests.support.envelopes import delivery, make

OUT = Path(__file__).with_name("vectors.json")


def keys() -> dict[str, str]:
    sg, my = cases.REGION.members["SG"], cases.REGION.members["MY"]
    kid, _ = cases.REGION.view.encryption_key("MY", at=cases.REGION.now)
    theirs, _ = cases.REGION.view.encryption_key("SG", at=cases.REGION.now)
    return {
        "now": cases.REGION.now.isoformat(),
        "sg_node": sg.sign_key.public.raw.hex(),
        "sg_officer": sg.officer_key.public.raw.hex(),
        "my_open": my.open_keys[kid].secret().hex(),
        "my_epoch_public": my.open_keys[kid].public.raw.hex(),
        "my_node": my.sign_key.public.raw.hex(),
        "sg_open": sg.open_keys[theirs].secret().hex(),
        "sg_epoch_public": sg.open_keys[theirs].public.raw.hex(),
        "gateway": cases.REGION.gateway_sign_key.public.raw.hex(),
    }


def vectors() -> list[Vector]:
    disclosed = make(cases.REGION, disclose_recipients=True).sealed.raw
    disclosing = deliver(parse_submitted(disclosed), "MY")
    found = [
        ("a good envelope", "submitted", cases.RAW, ""),
        ("its copy", "delivered", cases.COPY, ""),
        ("a copy that shows the recipients", "delivered", disclosing, ""),
        ("a delivery", "delivery", delivery(cases.REGION, cases.RAW, "MY"), ""),
        ("trailing byte", "submitted", cases.RAW + b"\0", "not-canonical"),
        ("non-minimal integer", "submitted", b"\x98\xcc\x01" + cases.RAW[2:], "not-canonical"),
        ("repeated key in the label", "submitted", repeated_key(), "bad-label"),
    ]
    for name, (change, code) in cases.FORMS.items():
        raw = canonical.encode(change(cases.parts_of(cases.RAW)))
        found.append((name, "submitted", raw, code))
    for name, alter in cases.SIGNED.items():
        raw = canonical.encode(alter(cases.parts_of(cases.RAW)))
        found.append((name, "submitted", raw, "bad-signature"))
    for name, (build, code) in cases.INSIDE.items():
        found.append((name, "delivered", build(), code))
    return [*(Vector(*each) for each in found), *more_vectors()]


def shown(all_of_them: list[Vector]) -> list[dict[str, object]]:
    """The vectors as JSON; bytes that stood before are named by the vector that has them."""
    first: dict[bytes, str] = {}
    found: list[dict[str, object]] = []
    for each in all_of_them:
        known = first.setdefault(each.raw, each.name)
        bytes_of = {"raw": each.raw.hex()} if known == each.name else {"raw_of": known}
        more = {"member": each.member} if each.member != "MY" else {}
        differs = {"directory": each.directory} if each.directory else {}
        found.append(
            {"name": each.name, "form": each.form, **more, **differs, "code": each.code, **bytes_of}
        )
    return found


def repeated_key() -> bytes:
    """A label that says `rev` twice, under an otherwise good envelope."""
    parts = cases.parts_of(cases.RAW)
    label = parts[2]
    key = b"\xa3rev\x01"
    place = label.index(key)
    count = int.from_bytes(label[1:3], "big")
    doubled = label[:1] + (count + 1).to_bytes(2, "big") + label[3:place] + key + label[place:]
    return canonical.encode([*parts[:2], doubled, *parts[3:]])


def main() -> None:
    OUT.write_text(json.dumps({"keys": keys(), "vectors": shown(vectors())}, indent=0) + "\n")


if __name__ == "__main__":
    main()
