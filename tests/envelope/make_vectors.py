"""Writes the vectors beside it: `python -m tests.envelope.make_vectors` from the root.

Sealing is random, so those of envelopes are made once and kept; the test reads them with the kept
keys. Chunks of files are sealed the same way each time: the test makes them again.
"""

import json
from pathlib import Path
from typing import Any

from broker.envelope.chunks import _aad, _nonce, attachments_key, file_key, seal_chunk
from broker.envelope.submitted import deliver, parse_submitted
from keys.primitives.hashing import sha256
from schemas import canonical
from schemas.attachment import CHUNK_BYTES, Manifest, encode_manifests
from tests.envelope import test_envelope as cases
from tests.envelope.wrong import Vector, more_vectors
from tests.support.envelopes import delivery, make

OUT = Path(__file__).with_name("vectors.json")
CHUNKS = Path(__file__).with_name("chunk_vectors.json")
CONTENT_KEY = bytes(range(32))
SIZES = {"one chunk, not full": 1000, "two chunks, full": 2 * CHUNK_BYTES, "three": 600_000}


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
        ("a copy with two files", "delivered", cases.with_files(cases.FILM, cases.FILM), ""),
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


def plaintext(size: int) -> bytes:
    """Byte i is i modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def manifests() -> list[Manifest]:
    return [
        Manifest(f"{number}.bin", "application/octet-stream", size, sha256(plaintext(size)))
        for number, size in enumerate(SIZES.values())
    ]


def sealed(number: int, index: int) -> bytes:
    """Chunk `index` of file `number`."""
    manifest = manifests()[number]
    part = plaintext(manifest.size)[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
    key = file_key(attachments_key(CONTENT_KEY), number)
    return seal_chunk(key, manifest, number, index, part)


def chunk_vectors() -> dict[str, Any]:
    """Every sealed chunk by its hash and tag, and what must not open where."""
    files = [
        {
            "name": name,
            "bytes": manifest.size,
            "sha256": manifest.sha256.hex(),
            "key": file_key(attachments_key(CONTENT_KEY), number).hex(),
            "chunks": [
                {
                    "nonce": _nonce(manifest, index).hex(),
                    "aad": _aad(manifest, number, index).hex(),
                    "tag": sealed(number, index)[-16:].hex(),
                    "sha256": sha256(sealed(number, index)).hex(),
                }
                for index in range(manifest.chunks)
            ],
        }
        for number, (name, manifest) in enumerate(zip(SIZES, manifests(), strict=True))
    ]
    wrong = [  # the chunk `given` handed out in the place `asked`, both [file, chunk]
        {"name": name, "asked": asked, "given": given, "change": change, "code": "bad-chunk"}
        for name, asked, given, change in (
            ("swapped", [2, 0], [2, 1], ""),
            ("repeated", [2, 1], [2, 0], ""),
            ("the last one earlier", [2, 1], [2, 2], ""),
            ("a middle one as the last", [2, 2], [2, 1], ""),
            ("of another file", [2, 0], [1, 0], ""),
            ("cut by a byte", [2, 0], [2, 0], "cut"),
            ("a byte too long", [2, 0], [2, 0], "longer"),
            ("one bit flipped", [2, 0], [2, 0], "flip"),
            ("under another envelope's key", [2, 0], [2, 0], "key"),
            ("of a file one byte longer", [2, 2], [2, 2], "size"),
            ("of a file with another hash", [2, 0], [2, 0], "hash"),
        )
    ]
    return {
        "plaintext": "byte i of each file is i modulo 251",
        "content_key": CONTENT_KEY.hex(),
        "attachments_key": attachments_key(CONTENT_KEY).hex(),
        "manifests": encode_manifests(manifests()).hex(),
        "files": files,
        "wrong": wrong,
    }


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
    CHUNKS.write_text(json.dumps(chunk_vectors(), indent=0) + "\n")


if __name__ == "__main__":
    main()
