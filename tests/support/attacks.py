"""What a real member tries against the others: one publish each, with its own credentials."""

import json
from datetime import timedelta
from typing import NamedTuple

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from schemas import canonical
from schemas.moments import milliseconds
from tests.support.labels import uuid7_at

AT = clock.now()
YEAR = AT.year
AUDIT = f"AUDIT_{YEAR}"
NEXT = "$JS.API.CONSUMER.MSG.NEXT"


class Attack(NamedTuple):
    """One publish; `reply` is where the attacker lets the answer go."""

    subject: str
    payload: bytes = b""
    reply: str = ""


EVIL_CONSUMER = json.dumps(
    {
        "stream_name": "INBOX_SG_normal",
        "config": {
            "durable_name": "evil",
            "deliver_subject": "deliver.MY.normal.evil",
            "ack_policy": "none",
        },
    }
).encode()
SPY_CONSUMER = json.dumps(
    {"stream_name": "INBOX_MY_normal", "config": {"durable_name": "spy", "ack_policy": "explicit"}}
).encode()
SPY_STREAM = json.dumps({"name": "SPY", "subjects": ["spy.>"], "sources": [{"name": AUDIT}]})
ONE = json.dumps({"batch": 1, "no_wait": True}).encode()
DELETED = json.dumps({"seq": 1}).encode()

IDENT = uuid7_at(AT, 1)  # MY sends files with it to TH, and one chunk is at the hub
UNOPENED = uuid7_at(AT, 2)  # MY may send files with it to TH, and has not begun
EXPIRES = AT + timedelta(days=1)
CHUNK = bytes([7]) * SEALED_CHUNK_BYTES
PUT = canonical.encode({"id": IDENT.bytes, "number": 0, "chunk": 1, "data": CHUNK})
GET = canonical.encode({"sender": "MY", "id": IDENT.bytes, "number": 0, "chunk": 0})
DONE = canonical.encode({"sender": "MY", "id": IDENT.bytes})
OPEN = canonical.encode({"id": UNOPENED.bytes, "counts": [2], "expires": milliseconds(EXPIRES)})
ROOM = canonical.encode({})
# All that is asked about files.
FILES = {"open": OPEN, "put": PUT, "get": GET, "done": DONE, "room": ROOM}

ATTACKS = {
    "publish-into-anothers-inbox": Attack("deliver.MY.normal.x", b"forged"),
    "publish-into-anothers-submissions": Attack("submit.MY.normal.x", b"forged"),
    "publish-a-decision": Attack(f"audit.{YEAR}.SG.x", b"forged"),
    "publish-a-receipt": Attack("receipt.MY.x", b"forged"),
    "publish-into-what-is-held": Attack("held.MY.SG.normal.x", b"forged"),
    "ack-into-anothers-inbox": Attack("submit.SG.normal.1", b"x", "deliver.MY.normal.x"),
    "ack-into-the-audit-stream": Attack("submit.SG.normal.2", b"x", f"audit.{YEAR}.SG.x"),
    "ack-into-anothers-submissions": Attack("submit.SG.normal.3", b"x", "submit.MY.normal.x"),
    "own-mail-into-anothers-inbox": Attack(
        f"{NEXT}.INBOX_SG_normal.normal", ONE, "deliver.MY.normal.x"
    ),
    "own-mail-into-the-audit-stream": Attack(
        f"{NEXT}.INBOX_SG_normal.normal", ONE, f"audit.{YEAR}.x"
    ),
    "purge-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "delete-stream-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.STREAM.DELETE.INBOX_MY_normal"
    ),
    "delete-audit-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, f"$JS.API.STREAM.DELETE.{AUDIT}"
    ),
    "delete-consumer-by-reply": Attack(
        f"{NEXT}.INBOX_SG_urgent.urgent", ONE, "$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"
    ),
    "purge-by-ack": Attack("submit.SG.normal.4", b"{}", "$JS.API.STREAM.PURGE.INBOX_MY_normal"),
    "service-answer-into-an-inbox": Attack("hub.SG.time", b"", "deliver.MY.normal.x"),
    "service-answer-as-an-order": Attack(
        "hub.SG.time", b"", "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "chunk-for-another": Attack("hub.MY.att.put", PUT),
    "chunk-under-anothers-id": Attack("hub.SG.att.put", PUT),
    "chunk-of-another": Attack("hub.SG.att.get", GET),
    "chunk-as-its-recipient": Attack("hub.TH.att.get", GET),
    "chunks-opened-for-another": Attack("hub.MY.att.open", OPEN),
    "chunks-opened-under-anothers-id": Attack("hub.SG.att.open", OPEN),
    "chunks-taken-from-another": Attack("hub.SG.att.done", DONE),
    "chunks-taken-as-their-recipient": Attack("hub.TH.att.done", DONE),
    "chunks-by-a-wildcard": Attack("hub.*.att.get", GET),
    "chunks-of-no-member": Attack("hub.att.get", GET),
    "chunk-answer-into-an-inbox": Attack("hub.SG.att.get", GET, "deliver.MY.normal.x"),
    "chunk-answer-into-submissions": Attack("hub.SG.att.put", PUT, "submit.MY.normal.x"),
    "chunk-answer-into-the-audit-stream": Attack("hub.SG.att.open", OPEN, f"audit.{YEAR}.SG.y"),
    "chunk-answer-into-receipts": Attack("hub.SG.att.done", DONE, "receipt.MY.x"),
    "chunk-answer-to-anothers-question": Attack("hub.SG.att.get", GET, "_INBOX_MY.x"),
    "chunk-answer-as-anothers-chunk": Attack("hub.SG.att.get", GET, "hub.MY.att.put"),
    "chunk-answer-as-an-order": Attack(
        "hub.SG.att.put", PUT, "$JS.API.STREAM.PURGE.INBOX_MY_normal"
    ),
    "chunk-answer-deletes-a-consumer": Attack(
        "hub.SG.att.get", GET, "$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"
    ),
    "chunks-in-an-object-store": Attack("$O.attachments.C.x", b"x"),
    "make-an-object-store": Attack("$JS.API.STREAM.CREATE.OBJ_x", SPY_STREAM.encode()),
    "purge": Attack("$JS.API.STREAM.PURGE.INBOX_MY_normal"),
    "purge-own": Attack("$JS.API.STREAM.PURGE.INBOX_SG_normal"),
    "delete-stream": Attack("$JS.API.STREAM.DELETE.INBOX_MY_normal"),
    "delete-message": Attack(f"$JS.API.STREAM.MSG.DELETE.{AUDIT}", DELETED),
    "create-stream": Attack("$JS.API.STREAM.CREATE.SPY", SPY_STREAM.encode()),
    "create-consumer": Attack("$JS.API.CONSUMER.DURABLE.CREATE.INBOX_MY_normal.spy", SPY_CONSUMER),
    "create-named-consumer": Attack("$JS.API.CONSUMER.CREATE.INBOX_MY_normal.spy", SPY_CONSUMER),
    "create-own-consumer-with-foreign-subject": Attack(
        "$JS.API.CONSUMER.DURABLE.CREATE.INBOX_SG_normal.evil", EVIL_CONSUMER
    ),
    "delete-consumer": Attack("$JS.API.CONSUMER.DELETE.INBOX_MY_normal.normal"),
    "pause-consumer": Attack(
        "$JS.API.CONSUMER.PAUSE.INBOX_MY_normal.normal", b'{"pause_until":"2099-01-01T00:00:00Z"}'
    ),
    "pull-anothers-mail": Attack(f"{NEXT}.INBOX_MY_normal.normal", ONE),
    "pull-anothers-receipts": Attack(f"{NEXT}.RECEIPT_MY.MY", ONE),
    "pull-the-gateways-work": Attack(f"{NEXT}.SUBMIT_MY.GATEWAY-normal", ONE),
    "pull-own-submissions-back": Attack(f"{NEXT}.SUBMIT_SG.GATEWAY-normal", ONE),
    "pull-with-anothers-receipt-lane": Attack(f"{NEXT}.RECEIPT_SG.MY", ONE),
    "remove-the-hubs-account": Attack("$SYS.REQ.CLAIMS.DELETE", b"x"),
    "stop-the-server": Attack("$SYS.REQ.SERVER.RELOAD"),
}
REPLIES = sorted({attack.reply for attack in ATTACKS.values() if attack.reply})
ATTACKS |= {
    f"{verb}-answered-to-{reply}": Attack(f"hub.SG.att.{verb}", body, reply)
    for verb, body in FILES.items()
    for reply in REPLIES
}
"""Every answer of the file service, let go to wherever an attack lets any answer go."""
ATTACKS |= {
    f"{verb}-at-{place}": Attack(f"{place}.{verb}{more}", body)
    for verb, body in FILES.items()
    for place, more in (
        ("hub.MY.att", ""),
        ("hub.TH.att", ""),
        ("hub.*.att", ""),
        ("hub.MY.*", ""),
        ("hub.SG.att", ".MY"),
        ("hub.SG.att.MY", ""),
        ("hub.SG.MY.att", ""),
        ("hub.sg.att", ""),
    )
}
"""Every question about files, asked as another or in a form that might be taken for another's."""
