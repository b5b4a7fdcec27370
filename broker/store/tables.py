"""The node's tables. Whatever an alert says stands in `sealed` columns only.

A change here is a new version: a module in `migrations/node`, and its name in `newest`.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from broker.store.schema import SCHEMA, Schema

SCHEMA_OF_NODE: Final = Schema("node", "0007", (Path(__file__).parent / "migrations" / "node",))
metadata = MetaData(info={SCHEMA: SCHEMA_OF_NODE})
_POSITION = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only an INTEGER key

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
drafts = Table(
    "drafts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_by", String(36)),
    Column("sealed", LargeBinary, nullable=False),
)
submissions = Table(
    "submissions",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("alert_id", String(36), nullable=False, index=True),
    Column("state", String(20), nullable=False, index=True),
    Column("exercise", Integer, nullable=False),
    Column("queued_ms", BigInteger, nullable=False),
    Column("content_digest", LargeBinary, nullable=False, index=True),
    Column("resealed", Integer, nullable=False, default=0),
    Column("document", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("delete_ms", BigInteger, index=True),  # when `sealed` must be gone; none once it is
)
idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("submission_id", String(36), nullable=False),
)
envelopes = Table(
    "envelopes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("submission_id", String(36)),
    Column("decided", Integer, nullable=False, default=0),
)
controls = Table(
    "controls",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("envelope_id", String(36), index=True),  # none while it waits to be sealed
    Column("peer", String(16), nullable=False),
    Column("ref_id", String(36), nullable=False),
    Column("ref_digest", LargeBinary, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
)
outbox = Table(
    "outbox",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("subject", String(160), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("again", Integer, nullable=False, server_default="0"),  # whether a peer asked for it
)
repeatable = Table(  # decided and accepted: handed in again if a peer says that it did not come
    "repeatable",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("subject", String(160), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("until_ms", BigInteger, nullable=False, index=True),
)
unproven = Table(  # of those, what the log has not proved yet: handed in again by and by
    "unproven",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False, index=True),
)
sent = Table(
    "sent",
    metadata,
    Column("peer", String(16), primary_key=True),
    Column("incarnation", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("id", String(36), nullable=False, index=True),
    Column("state", String(10), nullable=False),  # pending, accepted or void
    Column("again_ms", BigInteger, nullable=False, server_default="0"),  # last handed in again
    Column("again_for", BigInteger, nullable=False, server_default="0"),  # the peer's incarnation
)
inbox = Table(
    "inbox",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("alert_id", String(36), nullable=False, index=True),
    Column("rev", Integer, nullable=False),
    Column("type", String(32), nullable=False),
    Column("exercise", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
retention = Table(  # when an envelope that was sealed or received must be gone from here
    "retention",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("delete_ms", BigInteger, nullable=False, index=True),
)
received = Table(
    "received",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("outcome", String(64), nullable=False),
    Column("said", LargeBinary, index=True),  # names what an item says; none for the rest
    Column("item", String(36), index=True),  # into which item of the inbox it was folded
)
numbers = Table(
    "numbers",
    metadata,
    Column("peer", String(16), primary_key=True),
    Column("incarnation", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
)
gaps = Table(
    "gaps",
    metadata,
    Column("peer", String(16), primary_key=True),
    Column("incarnation", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("noticed_ms", BigInteger, nullable=False),
)
peers = Table(
    "peers",
    metadata,
    Column("peer", String(16), primary_key=True),
    Column("heard_ms", BigInteger, nullable=False),
    Column("told_ms", BigInteger, nullable=False),
)
peer_incarnations = Table(  # the highest that a peer's pair-states named
    "peer_incarnations",
    metadata,
    Column("peer", String(16), primary_key=True),
    Column("incarnation", BigInteger, nullable=False),
)
quarantine = Table(
    "quarantine",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("code", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
held = Table(  # mail under a key stolen since, until the log shows when it was decided
    "held",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("since_ms", BigInteger, nullable=False),
    Column("said", Integer, nullable=False),  # whether an alarm says that it waits
    Column("raw", LargeBinary, nullable=False),
)
cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
alarms = Table(
    "alarms",
    metadata,
    Column("number", _POSITION, primary_key=True, autoincrement=True),
    Column("code", String(64), nullable=False),
    Column("peer", String(16), nullable=False),
    Column("id", String(36), nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    UniqueConstraint("code", "peer", "id"),
)
alarm_details = Table(  # the newest, by the alarm's code
    "alarm_details",
    metadata,
    Column("code", String(64), primary_key=True),
    Column("detail", String(1024), nullable=False),
)
suspensions = Table(  # of members' connections, by the hub's operator, as the hub tells all
    "suspensions",
    metadata,
    Column("member", String(16), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
witnessed = Table(  # what this node cosigned last, of each log
    "witnessed",
    metadata,
    Column("origin", String(200), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("time_s", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),  # under the log's signatures and our own
)
mirrors = Table(
    "mirrors",
    metadata,
    Column("origin", String(200), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("proven", BigInteger, nullable=False),  # leaves under the quorum's checkpoint `note`
    Column("note", LargeBinary, nullable=False),
)
leaves = Table(  # where the leaf of a commitment, or of a directory snapshot, stands
    "leaves",
    metadata,
    Column("about", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True),
)
snapshots = Table(  # the directory's snapshots of which a leaf speaks, by the leaf's number
    "snapshots",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("snapshot", LargeBinary, nullable=False),
)
proofs = Table(  # every decision about what this node sent or received
    "proofs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("about", LargeBinary, primary_key=True),  # the leaf's `c_route`
    Column("sent", Integer, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("decision", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("number", BigInteger),  # of its leaf; none until it is proven
    Column("size", BigInteger),
    Column("path", LargeBinary),
    Column("overdue", Integer, nullable=False, default=0),
)
proof_notes = Table(  # the cosigned checkpoints of those sizes, as they were when they proved
    "proof_notes",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
)
attachments = Table(  # files that desks hand over; their chunks lie in a folder
    "attachments",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("complete", Integer, nullable=False),
    Column("touched_ms", BigInteger, nullable=False),
    Column("submission_id", String(36), index=True),  # none until a submission takes it
    Column("number", Integer, nullable=False, default=0),
    Column("sealed", LargeBinary, nullable=False),
)
uploads = Table(  # envelopes whose files are to go to the hub
    "uploads",
    metadata,
    Column("envelope_id", String(36), primary_key=True),
    Column("submission_id", String(36), nullable=False, index=True),
    Column("decided", Integer, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("urgency", Integer, nullable=False, server_default="1"),  # place of the alert's lane
)
arrivals = Table(  # files of received alerts
    "arrivals",
    metadata,
    Column("envelope_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sender", String(16), nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("have", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("code", String(64), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("told", Integer, nullable=False),  # whether the hub knows that all of it is here
    Column("sealed", LargeBinary, nullable=False),
    Column("urgent", Integer, nullable=False, server_default="0"),  # whether its alert is
)
api_tokens = Table(  # of desks; the hash of a token's secret, never the secret
    "api_tokens",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("desk", String(31), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("types", String(1024), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("not_after_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)
Index("proofs_open", proofs.c.number)
Index("inbox_by_type", inbox.c.type, inbox.c.position)
Index("uploads_due", uploads.c.decided, uploads.c.urgency, uploads.c.due_ms, uploads.c.envelope_id)
Index(
    "arrivals_due",
    arrivals.c.state,
    arrivals.c.sender,
    arrivals.c.urgent,
    arrivals.c.due_ms,
    arrivals.c.envelope_id,
    arrivals.c.number,
)
Index("arrivals_untold", arrivals.c.told, arrivals.c.state, arrivals.c.chunks, arrivals.c.due_ms)
