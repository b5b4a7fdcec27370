"""Writes tests/fuzz/corpus: `python -m tests.fuzz.make_corpus PARSER...` from the root.

Keys are random, so what is there is kept: only the folders of the named parsers are written anew,
or those that are missing. What a run of `make fuzz` finds is put beside as further files.
"""

import io
import json
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker.audit.evidence import Evidence
from broker.carry.form import Header, Record, To, What, Writer
from broker.carry.place import Asked
from broker.client.profiles import Profiles
from broker.envelope.decision import parse_delivery
from broker.envelope.delivered import open_stanza, parse_delivered
from broker.envelope.disclosure import disclose
from broker.envelope.padding import pack
from broker.envelope.submitted import deliver, parse_submitted
from broker.gateway.notices import seal_notice
from broker.hub.chunkheads import Head
from broker.ledger.signer import Signer
from broker.log.audited import seal_audited
from broker.log.commitments import statement_of
from broker.log.erasure import encode_erasure
from broker.log.leaf import LeafKind
from broker.log.note import Note, parse_note
from broker.log.opening import OpeningSealer
from broker.log.padding import padded
from broker.log.rebuilt import decided_before, ready
from broker.log.recordkeys import RecordKey
from broker.log.tiles import Tile, encode_bundle, parse_bundle
from broker.log.treehead import _HEAD, _SHA256_ECDSA
from broker.log.witness import WitnessRequest
from broker.store.archive import write_archive
from broker.transport.attaching import (
    data_answer,
    done_answer,
    error_answer,
    kept_answer,
    next_answer,
    room_answer,
)
from broker.transport.services import Notice as Suspended
from broker.transport.services import cosigned_answer, notices_answer, piece_of, time_answer
from keys.auditors import share_new_key
from keys.directory import layout
from keys.directory.holders import create_ministry
from keys.directory.proposal import Application
from keys.keystore import FLOOR_LOG2N, Entry, KeyStore
from keys.kid import kid_of
from keys.officers import create_officer_key
from keys.primitives.sealing import OpenKey, SealKey
from keys.primitives.signing import SignKey
from schemas import canonical
from schemas.attachment import Manifest, encode_manifests
from schemas.content import encode_alert
from schemas.control import PairState, Rejected, Told, encode_control
from schemas.desk import CursorAck, InboxItem, SubmitRequest
from schemas.desk.fields import DirectoryNamed
from schemas.desk.inbox import DecisionShown, OfficerShown, OriginalShown
from schemas.receipt import (
    DecisionReceipt,
    Notice,
    NoticeReceipt,
    TemporaryRefusal,
    Where,
    encode_receipt,
)
from schemas.vocabulary import TLP, Kind, Precedence, Status
from tests.audit import bundles
from tests.envelope import test_vectors as kept
from tests.fuzz.of_carry import header_again, record_again
from tests.fuzz.of_desk import COLUMNS, PROFILE, ROW
from tests.fuzz.of_directory import PASSPHRASE
from tests.fuzz.of_log import PROVEN
from tests.fuzz.of_services import ID
from tests.fuzz.of_wire import opened
from tests.fuzz.parser import CORPUS
from tests.support.alerts import every_alert
from tests.support.directory import RealRegion, found
from tests.support.envelopes import decide, make
from tests.support.nodes import request
from tests.support.region import make_region

ENVELOPES = frozenset({"submitted", "delivered", "delivery"})
BAD_ONES = 6  # of each form; tests/envelope/vectors.json has them all
Samples = Iterator[tuple[str, bytes]]
REGION = make_region(("SG", "MY", "VN"), now=kept.NOW)
RAW = make(REGION, ("MY", "VN")).sealed.raw
MISSING = ((1, 1, 2), (1, 5, 5), (1_790_000_000, 1, 64))
DECISION = decide(REGION, RAW)
SIGNED = statement_of(DECISION, boot=1, seq=3).sign(REGION.gateway_sign_key)
ENTRIES = [bundles.entry(seq) for seq in range(5)]
NOTE = bundles.note_of(ENTRIES, (1_790_000_000,) * 3)
BIG_KEYS_ASIDE = Note(parse_note(NOTE).text, parse_note(NOTE).signatures[:1]).to_bytes()
STIX = {
    "type": "bundle",
    "id": "bundle--11111111-1111-4111-8111-111111111111",
    "objects": [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": "indicator--22222222-2222-4222-8222-222222222222",
            "created": "2026-11-01T00:00:00.000Z",
            "modified": "2026-11-01T00:00:00.000Z",
            "name": "A domain",
            "pattern": "[domain-name:value = 'evil.example']",
            "pattern_type": "stix",
            "valid_from": "2026-11-01T00:00:00Z",
            "indicator_types": ["malicious-activity"],
            "kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "p"}],
            "external_references": [{"source_name": "s", "external_id": "T1566"}],
            "granular_markings": [{"marking_ref": "marking-definition--1", "selectors": ["name"]}],
        },
        {
            "type": "domain-name",
            "id": "domain-name--33333333-3333-4333-8333-333333333333",
            "value": "evil.example",
        },
        {
            "type": "attack-pattern",
            "id": "attack-pattern--44444444-4444-4444-8444-444444444444",
            "name": "Phishing",
            "external_references": [{"source_name": "mitre-attack", "external_id": "T1566.001"}],
            "x_other": {"a": ["b"]},
        },
        {
            "type": "relationship",
            "id": "relationship--55555555-5555-4555-8555-555555555555",
            "relationship_type": "indicates",
            "source_ref": "indicator--22222222-2222-4222-8222-222222222222",
            "target_ref": "attack-pattern--44444444-4444-4444-8444-444444444444",
        },
    ],
}
MISP = {
    "Event": {
        "uuid": "66666666-6666-4666-8666-666666666666",
        "info": "Phishing",
        "date": "2026-11-01",
        "timestamp": "1790000000",
        "publish_timestamp": "1790000001",
        "Orgc": {"name": "CERT"},
        "Tag": [{"name": "tlp:amber"}],
        "Attribute": [
            {
                "uuid": "77777777-7777-4777-8777-777777777777",
                "type": "domain|ip",
                "value": "evil.example|192.0.2.1",
                "to_ids": True,
                "timestamp": "1790000000",
                "comment": "seen",
            }
        ],
        "Object": [
            {
                "uuid": "88888888-8888-4888-8888-888888888888",
                "name": "file",
                "timestamp": "1790000000",
                "Attribute": [{"type": "md5", "value": "d41d8cd98f00b204e9800998ecf8427e"}],
                "ObjectReference": [
                    {
                        "referenced_uuid": "77777777-7777-4777-8777-777777777777",
                        "relationship_type": "related-to",
                        "timestamp": "1",
                    }
                ],
            }
        ],
        "Galaxy": [{"GalaxyCluster": [{"type": "t", "value": "v", "meta": {"refs": ["r"]}}]}],
    }
}
CASES = b"""[[case]]
name = "a scam to a neighbour"
from = "SG"
to = ["MY", "VN"]
type = "cyber"
facts = ["personal_data"]
tlp = "amber"
expect = "permit"
rule = "scams"
"""
YAML = b"""status: exercise
to: [MY]
tlp: amber
purposes: [warn]
agency: POLICE
alert:
  type: cyber
  version: 1
  body:
    certainty: suspected
    as_of: 2026-11-24
    national_ref: "SPF/REF/1"
    title: "A scam"
    offences: [{iccs: 'iccs:0903'}]
    observables:
      - {type: domain, value: example.com, to_ids: true}
    texts:
      - {value: "What happened.", lang: en}
"""


def of_wire() -> Samples:
    """The kept vectors, good and bad, and what lies inside the good ones."""
    bad: Counter[str] = Counter()
    for each in kept.KEPT["vectors"]:
        if "raw" not in each or each["form"] not in ENVELOPES:
            continue  # the bytes of another vector, under another directory
        bad[each["form"]] += bool(each["code"])
        if not each["code"] or bad[each["form"]] <= BAD_ONES:
            yield each["form"], bytes.fromhex(each["raw"])
    good = next(
        each for each in kept.KEPT["vectors"] if each["form"] == "delivery" and "raw" in each
    )
    delivery = parse_delivery(bytes.fromhex(good["raw"]))
    found, keys = opened()
    yield "stanza", b"".join(open_stanza(found, found.slot.recipient, keys))
    yield "label", delivery.delivered.frame.label_bytes
    yield "canonical", delivery.delivered.frame.label_bytes
    yield "header", DECISION.header_bytes
    yield "record", next(each for each in DECISION.openings if each).record_bytes
    yield "decision", DECISION.to_bytes()
    yield "decision", DECISION.for_recipient("MY").to_bytes()
    made = make(REGION, ("MY",))
    yield "content", made.content.to_bytes()
    yield "padded", pack(made.content.to_bytes())
    for alert in every_alert():
        yield f"alert-{alert.TYPE}", encode_alert(alert)
    yield "service", canonical.encode({"offset": 0})
    yield "service", canonical.encode({"suspended": [["MY", "a reason", 1, 2]]})
    yield "manifests", encode_manifests((Manifest("a.pdf", "application/pdf", 9, bytes(32)),))
    ident = made.label.id.bytes
    yield "attachment-open", canonical.encode({"id": ident, "counts": [3, 1], "expires": 1})
    put: dict[str, canonical.Value] = {"id": ident, "number": 0, "chunk": 2, "data": b"sealed"}
    yield "attachment-put", canonical.encode(put)
    get: dict[str, canonical.Value] = {"sender": "SG", "id": ident, "number": 1, "chunk": 0}
    yield "attachment-get", canonical.encode(get)
    yield "attachment-done", canonical.encode({"sender": "SG", "id": ident})
    yield "attachment-room", canonical.encode({})
    for form in (1, 2):
        head = Head(("MY", "VN"), (4, 1), kept.NOW, ("MY",), form=form)
        yield "chunks-head", head.to_bytes()
    yield from (("offset", canonical.encode({"offset": each})) for each in (0, 21))


def of_answers() -> Samples:
    """Receipts, notices and controls."""
    at, digest = kept.NOW, DECISION.header.digest
    notice = Notice(Where.BOUNCED, made_id(), digest, "SG", "MY", 1_790_000_000_000).to_bytes()
    receipts = (
        DecisionReceipt(DECISION.to_bytes(), (("MY", Where.STORED), ("VN", Where.HELD))),
        DecisionReceipt(DECISION.to_bytes(), ()),
        TemporaryRefusal(made_id(), digest, "quota", 30),
        NoticeReceipt(notice, bytes(16), bytes(64)),
    )
    yield from (("receipt", encode_receipt(each)) for each in receipts)
    yield "notice", notice
    gone = Notice(Where.EXPIRED, made_id(), digest, "SG", "VN", 1_790_000_000_000)
    yield "notice", gone.to_bytes()
    for message in (
        Told(Kind.DELIVERED, at),
        Told(Kind.OPENED, at),
        Told(Kind.PURGED, at),
        Rejected(at, "facts-understated"),
        PairState(at, 1, 1, 9, ((2, 3),), ((5, 5),)),
        PairState(at, 1, 1, 0),  # nothing was accepted yet
        PairState(at, 1_795_000_000, 7, 600, ((7, 7), (9, 40)), ((50, 50), (52, 52)), MISSING),
    ):
        yield "control", encode_control(message)


def of_services() -> Samples:
    """Questions and answers over a link, of the log that the other samples are of."""
    note = parse_note((CORPUS / "note" / "2").read_bytes())
    by_every_key = Note(note.text, note.signatures[:2])
    for each in (by_every_key, Note(note.text, note.signatures[:1])):
        yield "witness-request", WitnessRequest(0, (), each).to_bytes()
    yield "proof-verified", proof_kept(by_every_key)
    yield "hub-time", time_answer(kept.NOW)
    suspended = Suspended("MY", "a reason", kept.NOW, kept.NOW)
    yield "hub-notices", notices_answer((suspended,))
    cosigned = (CORPUS / "note" / "2").read_bytes()
    yield "hub-others", cosigned_answer([cosigned])
    yield "hub-file", piece_of(b"what stands there now", 0)
    yield "hub-file", canonical.encode({"same": True})
    yield "answered-open", next_answer([2, 0], ["VN"])
    yield "answered-put", kept_answer()
    yield from (("answered-get", data_answer(each)) for each in (b"sealed", None))
    yield from (("answered-done", each) for each in (done_answer(), error_answer("busy")))
    yield "answered-room", room_answer(4 << 30)
    yield from (("witness-next", b"%d\n" % each) for each in (0, 3))
    line = parse_note(cosigned).signatures[2].to_text().encode()
    yield from (("witness-answer", each) for each in (b"200 " + line, b"409 5\n"))
    yield "witness-latest", cosigned
    yield "witness-lends", b"checkpoint\n" + cosigned
    raw = (CORPUS / "entry-bundle" / "1").read_bytes()
    path = Tile(None, 0, raw[0] + 1).path
    copy: dict[str, canonical.Value] = {"checkpoint": cosigned, "seen": cosigned, path: raw[1:]}
    yield "lent-copy", canonical.encode(copy)
    yield from (("lent-path", each.encode()) for each in (path, "seen"))
    asked = canonical.encode({"offset": 0})
    for each in (path, "checkpoint", "cosigned", "over/1"):
        yield "log-file", each.encode() + b"\n" + asked
    for each in ("metadata/timestamp.json", "metadata/1.root.json", "../metadata"):
        yield "directory-file", each.encode() + b"\n" + asked
    yield "carried-hashes", bytes(range(64))
    done = canonical.encode({"sender": "SG", "id": ID.bytes})
    yield from (("carried-ask", each + b"\n" + done) for each in (b"att.done", b"att.open"))
    for account in ("", "_.AccountHash."):
        said = f"$JS.ACK.{account}INBOX_SG.reader.1.7.3.1790000000000000000.0"
        yield "ack-subject", f"{said}.random".encode() if account else said.encode()
    yield "leaves-at", b"1790000000000"
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    yield "ecdsa-key", key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)  # every second x is one
    curve = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    yield "ecdsa-key", curve + point


def proof_kept(note: Note) -> bytes:
    """A proof of one of the leaves that are kept."""
    raw = (CORPUS / "entry-bundle" / "1").read_bytes()
    return bundles.proof_of(parse_bundle(raw[1:], raw[0] + 1), PROVEN, note.to_bytes()).to_bytes()


def made_id() -> UUID:
    return make(REGION, ("MY",)).label.id


def of_log() -> Samples:
    """Leaves, records, notes, tiles and what auditors and witnesses get."""
    leaf = SIGNED.found_at(bytes(16), 4)
    key = RecordKey.generate()
    audited = seal_audited(SIGNED, DECISION, key, OpeningSealer(), auditors())
    opening = audited.record.opening
    assert opening is not None
    yield "leaf", leaf.to_bytes()
    yield "statement", SIGNED.to_bytes()
    yield "audited", audited.to_bytes()
    yield "opening", opening.to_bytes()
    yield "sealed-notice", seal_notice(b"a notice", "audit.2026.SG.x", key)
    yield "filled-up", padded(b"a notice")
    yield "erasure", encode_erasure(bytes(32), 7)
    yield "erased", bundles.said(1, kind=LeafKind.ERASURE).sign(bundles.GATEWAY).to_bytes()
    yield from (("note", BIG_KEYS_ASIDE), ("note", NOTE))
    note = parse_note(BIG_KEYS_ASIDE)
    yield "note-line", note.signatures[0].to_text()[:-1].encode()
    yield "checkpoint", note.text.encode()
    yield "checkpoint", f"{note.text}an extension\n".encode()
    yield "vkey", bundles.KEY.vkey.to_text().encode()
    yield "skey", bundles.KEY.to_secret_text().encode()
    yield from (("number", b"9223372036854775807"), ("base64", b"AAECAw=="))
    yield "cosignature", parse_note(NOTE).signatures[2].body()
    yield "tree-head", _HEAD.pack(1_790_000_000_000, _SHA256_ECDSA, 8) + bytes(8)
    yield "log-policy", bundles.policy_text(quorum=2).encode()
    yield from (("tile", bytes(range(64))), ("cut-tile", encode_bundle(ENTRIES)))
    yield from (("tile-path", b"tile/0/x001/234"), ("tile-path", b"tile/entries/000.p/7"))
    yield "entry-bundle", bytes((len(ENTRIES) - 1,)) + encode_bundle(ENTRIES)
    proof = bundles.proof_of(ENTRIES, 2, BIG_KEYS_ASIDE).to_bytes()
    yield "proof", proof
    yield (
        "log-staged",
        (
            b'{"read": {"AUDIT_2026": {"created": "2026-11-01", "next_seq": 5, "tail": ""}},'
            b' "taken": [["gw", 1, 2, ""]], "subjects": [[2026, "00ff"]], "marks": {}}'
        ),
    )


def auditors() -> tuple[bytes, SealKey]:
    public = OpenKey.generate().public
    return kid_of(public.raw), public


def of_directory(folder: Path) -> Samples:
    """A region founded for the purpose, a change to it, and the files of its members."""
    region = found(folder / "region", now=kept.NOW)
    bundle = region.repository.bundle()
    yield "root", region.founded.root
    for name in ("timestamp", "snapshot", "targets"):
        yield name, getattr(bundle, name).encode()
    yield "member-role", bundle.roles[layout.member_role("SG")].encode()
    yield "bundle", bundle.to_bytes()
    yield from documents(bundle.files)
    draft = region.draft(kept.NOW)
    draft.renew(layout.member_role("SG"))
    yield "proposal", draft.proposal().to_bytes()
    yield from of_evidence(region)
    yield from applications(folder)


def of_evidence(region: RealRegion) -> Samples:
    """An alert of that region, proved by its log, and what it says."""
    held = region.as_test_region(region.view(), kept.NOW)
    raw = make(held, ("MY",)).sealed.raw
    decision = decide(held, raw)
    entry = bundles.leaf(statement_of(decision, boot=7, seq=0), region.gateway)
    proof = bundles.proof_of([entry], 0, bundles.note_of([entry])).to_bytes()
    directory = region.repository.bundle().to_bytes()
    copy = deliver(parse_submitted(raw), "MY")
    shown = disclose(parse_delivered(copy), "MY", held.members["MY"].open_keys)
    said = Evidence(raw, decision.to_bytes(), entry, proof, directory, shown)
    yield "evidence", said.to_bytes()
    yield "evidence", replace(said, envelope=copy, disclosure=None).to_bytes()


def documents(files: Mapping[str, str]) -> Samples:
    document, policy, officers = layout.member_files("SG")
    for name, path in (
        ("member", document),
        ("officers", officers),
        ("policy", policy),
        ("revocations", layout.REVOCATIONS_FILE),
        ("members", layout.MEMBERS_FILE),
        ("hub", layout.HUB_FILE),
    ):
        yield name, files[path].encode()


def applications(folder: Path) -> Samples:
    ministry = create_ministry(folder / "ministry", PASSPHRASE, "SG", log2n=FLOOR_LOG2N)
    yield (
        "ministry",
        (folder / "ministry" / "signer.json").read_bytes().replace(str(folder).encode(), b"/home"),
    )
    files = dict.fromkeys(layout.member_files("SG"), "{}")
    application = Application(member="SG", key=ministry.key, files=files)
    yield "application", application.model_dump_json(indent=1).encode()


def of_keys(folder: Path) -> Samples:
    """Key stores and what else a hub or a node keeps for itself."""
    (folder / "keys").mkdir(mode=0o700)
    path = folder / "keys" / "node.keystore"
    entries = {"node/signing": Entry("ed25519", bytes(32), {"made": "2026-11-01"})}
    KeyStore.create(path, PASSPHRASE, entries, log2n=FLOOR_LOG2N)
    yield "key-store", path.read_bytes()
    officer = folder / "keys" / "officer.keystore"
    create_officer_key(officer, PASSPHRASE, member="SG", officer_id="7Q4", log2n=FLOOR_LOG2N)
    yield "officer-key", officer.read_bytes()
    yield "passphrase", PASSPHRASE + b"\n"
    yield "auditors", share_new_key(("SG", "MY", "VN"), threshold=2).file.to_bytes()
    state = folder / "keys" / "signer.json"
    Signer.create(
        state, bundles.ORIGIN, lambda each: each.signed([bundles.KEY.sign(each.to_text())])
    )
    yield "signer-state", state.read_bytes()
    yield "rebuilt", decided_before("audit.2026.SG.x", SignKey(bytes(32)))
    yield "rebuilt", ready(bytes(16), SignKey(bytes(32)))
    yield "signer-call", canonical.encode(["state"])
    yield "signer-call", canonical.encode(["append", 0, bytes(64)])
    yield (
        "stream-memory",
        (
            b'{"streams": {"INBOX_MY": {"created": "2026-11-01", "last_seq": 7}},'
            b' "went_back": ["A"]}'
        ),
    )
    yield "hub-erased", b'{"streams": {"AUDIT_2026": [3, 17], "INBOX_MY_normal": [3]}}'
    yield "hub-clock", b'{"at": "2026-11-26T12:00:00.250Z", "boot": "5f0c", "elapsed_s": 1000.25}'
    yield (
        "suspensions",
        (
            b'{"entries": [{"member": "MY", "reason": "lost key", "at": "2026-11-01T00:00:00Z",'
            b' "until": "2026-11-04T00:00:00Z"}]}'
        ),
    )


def of_desk(folder: Path) -> Samples:
    """What desks send and read."""
    asked = request(REGION, ("MY", "VN"))
    yield "api-draft", asked.model_dump_json(exclude_none=True).encode()
    yield (
        "api-submit",
        SubmitRequest(signature=bytes(64), officer_kid=bytes(16)).model_dump_json().encode(),
    )
    yield "api-cursor", CursorAck(position=7).model_dump_json().encode()
    yield from (("stix", json.dumps(STIX).encode()), ("misp", json.dumps(MISP).encode()))
    yield "table-csv", b'case,cantidad,unit,day\n1,12,GRAMO,2026-11-24\n2,"3,5",KILO\n'
    yield "table-json", json.dumps([ROW, {"case": 2}]).encode()
    yield from (("table-map", COLUMNS), ("policy-cases", CASES))
    yield from (("request", YAML), ("request", json.dumps({"alert": {"body": {}}}).encode()))
    yield "form-draft", b'{"schema": "kentong/draft/1", "answers": {"type": "cyber", "to": "MY"}}'
    profiles = Profiles(folder / "profiles.toml", {}, "")
    profiles.add("desk", PROFILE)
    yield "profiles", (folder / "profiles.toml").read_bytes()
    yield "node-config", b'format = 1\nmember = "SG"\nhub_url = "tls://localhost:4222"\n'
    yield "hub-config", b'format = 1\nport = 4222\nnames = ["localhost"]\ngateways = 2\n'
    yield "ledger-config", b'format = 1\norigin = "log.example/kentong"\n'
    yield "hub-state", b'{"running": true, "members": ["SG"]}'
    yield "event", b'event: alert\nid: 7\ndata: {"position": 7}'
    yield (
        "event",
        b'event: problem\ndata: {"title": "t", "status": 503, "detail": "d", "code": "busy"}',
    )
    yield "item", an_item().model_dump_json().encode()
    shown = {"items": [{"label": an_item().label}]}
    yield "received", json.dumps(shown).encode()
    yield "nats-ack", b'{"stream": "SUBMIT_SG", "seq": 7, "duplicate": true}'
    yield "nats-health", b'{"server": {"name": "hub-1"}, "data": {"status": "ok"}}'
    yield "nats-health", b'{"data": {"status": "error", "error": "stream: write error: no space"}}'
    yield "nats-ack", b'{"error": {"code": 503, "err_code": 10077, "description": "full"}}'


def an_item() -> InboxItem:
    made = make(REGION, ("MY",))
    label, alert = made.label, next(iter(every_alert()))
    named = DirectoryNamed(root=1, snapshot=1, hash=bytes(32))
    return InboxItem(
        position=1,
        id=label.id,
        alert_id=label.alert_id,
        rev=1,
        sender="SG",
        agency="SPF",
        type=label.type,
        type_version=1,
        status=Status.ACTUAL,
        exercise=False,
        precedence=Precedence.ROUTINE,
        tlp=TLP.AMBER,
        created=label.created,
        expires=label.expires,
        received_at=label.created,
        label=label.model_dump(mode="json", exclude_none=True),
        alert=alert.model_dump(mode="json", exclude_none=True),
        officer=OfficerShown(pseudonym="SG-7Q4", kid=bytes(16), roles=("officer",), system=False),
        decision=DecisionShown(
            gateway="gw",
            kid=bytes(16),
            decided_at=label.created,
            rule="test",
            policy=bytes(32),
            directory=named,
        ),
        recipients=("MY", "VN"),
        reviewed_no_personal_data=False,
        original=OriginalShown(sha256=bytes(32), media_type="a/b", bytes=1, carried=False),
        warnings=(),
    )


def of_tar(folder: Path) -> Samples:
    """A small log as an auditor gets it in a plain tar."""
    log = bundles.write_log(folder / "log", ENTRIES, BIG_KEYS_ASIDE)
    out = folder / "log.tar"
    with tarfile.open(out, "w") as archive:
        archive.add(log, "")
    yield "log-tar", out.read_bytes()


def of_carry(folder: Path) -> Samples:
    """A file on its way to the hub, what is noted of such files, and a backup."""
    about = b'{"format": 1, "member": "SG", "version": "0.1.0", "made": "2026-11-26T02:00:00Z"}'
    (folder / "kept").write_bytes(b"kept")
    write_archive(folder / "backup.tar", about, [("node/kept", folder / "kept")])
    yield from (("backup", (folder / "backup.tar").read_bytes()), ("backup-about", about))
    hub = about.replace(b'"member": "SG"', b'"hub": "tls://hub.example.int:4222"')
    yield "hub-backup-about", hub
    file = io.BytesIO()
    header = Header(To.HUB, "SG", "ab" * 16, 1_795_000_000_000, origin="log.example/k", leaves=7)
    writer = Writer(file, header)
    records = (
        Record(What.DONE, "", 1, bytes(32)),
        Record(
            What.ENVELOPE, "submit.SG.normal.01a2158a-a5d1-709d-87e4-3167be27d37c", 4, b"sealed"
        ),
    )
    for record in records:
        writer.add(record)
    writer.end(bytes(16), SignKey.generate())
    yield "carried", file.getvalue()
    yield "carried-header", header_again(header)
    yield from (("carried-record", record_again(record)) for record in records)
    noted = {"format": 1, "done": {"00" * 32: "", "01" * 32: "ab" * 16}}
    yield "carry-done", json.dumps(noted).encode()
    yield "carry-ferries", json.dumps({"format": 1, "keys": ["00" * 32]}).encode()
    asked = Asked(file="ab" * 16, made_ms=1, origin="o", leaves=7, done=("00" * 32,))
    yield "carry-asked", asked.model_dump_json().encode()
    yield (
        "ferry-config",
        b"format = 1\nmember = 'SG'\nhub_url = 'tls://localhost:4222'\njwt = 'a.b.c'\nexpires = 9",
    )


def main() -> None:
    """Write the folders that are named, and those that are missing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        samples: dict[str, list[bytes]] = {}
        for name, raw in (
            *of_wire(),
            *of_answers(),
            *of_log(),
            *of_directory(folder),
            *of_keys(folder),
            *of_desk(folder),
            *of_tar(folder),
            *of_carry(folder),
            *of_services(),
        ):
            samples.setdefault(name, []).append(raw)
    for name, found_ in samples.items():
        target = CORPUS / name
        if target.exists() and name not in sys.argv[1:]:
            continue
        target.mkdir(parents=True, exist_ok=True)
        for number, raw in enumerate(found_, 1):
            (target / str(number)).write_bytes(raw)


if __name__ == "__main__":
    main()
