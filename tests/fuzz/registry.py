"""Every parser of bytes from elsewhere, and the readers that need no fuzzing, with the reason."""

from typing import Final

from tests.fuzz.of_carry import CARRY
from tests.fuzz.of_desk import DESK
from tests.fuzz.of_directory import DIRECTORY
from tests.fuzz.of_log import LOG
from tests.fuzz.of_services import SERVICES
from tests.fuzz.of_wire import WIRE
from tests.fuzz.parser import Parser

PARSERS: Final[tuple[Parser, ...]] = (*WIRE, *SERVICES, *LOG, *DIRECTORY, *DESK, *CARRY)
_OWN = "the node's own database: sealed under its storage key, or written by itself"
_HUB = "the hub's own server answers the hub's own account, which no member can do"
_MODEL = "pydantic alone, any fault of it caught; nothing is done with the bytes before"
_LEAF = "a time of the log's own leaf, or of a witness; any number is caught"
_SAME = "it answers the same, whatever is asked"
NOT_FUZZED: Final[dict[str, str]] = {
    "broker.audit.export.Export._tar": "it writes a tar",
    "broker.audit.tally._month": _LEAF,
    "broker.audit.witnessing.moment": _LEAF,
    "broker.carry.ferry.Ferry._answers": "requests that `carry-asked` read",
    "broker.carry.ferry.Ferry.collect": "hashes that `carry-asked` read",
    "broker.cli.admin.changes.kid_from": "what a person types; any ValueError is caught",
    "broker.cli.admin.hub.run": "what the operator types; pydantic alone",
    "broker.cli.admin.policy.explain": "what a person types; pydantic alone",
    "broker.client.attaching.hand_over": _MODEL,
    "broker.client.connection.Connection.ask": _MODEL,
    "broker.client.connection._refusal": _MODEL,
    "broker.client.profiles.Profiles._write": "it reads what it made in the line before",
    "broker.client.signing._check_alert": "the officer's own request, not what the node said",
    "broker.client.submission.Submission.watch": _MODEL,
    "broker.client.subscription.Subscription._next": _MODEL,
    "broker.envelope.delivered.open_content": "decrypts; then `padded` and `content`",
    "broker.transport.accounts.user_jwt_again": "our own JWT, out of a key store that is sealed",
    "broker.cli.admin.node_status._checks": "what the node says of itself on its own socket",
    "broker.gateway.record.void": "the gateway's own clock",
    "broker.gateway.trial.main": "its parent wrote it, and it runs so that it may die",
    "broker.hub.enrolment.Enrolment._order": _HUB,
    "broker.hub.services.MemberServices._notices": _SAME,
    "broker.hub.services.MemberServices._time": _SAME,
    "broker.hub.recordkeys._name": "what the operator types; any ValueError is caught",
    "broker.ledger.signer_socket.SignerClient._call": "the answers of `signer-call`",
    "broker.ledger.sequencer._contradicts": "a hash made here",
    "broker.ledger.standings.Standings.others": _SAME,
    "broker.ledger.signer_socket._read": "a length, checked before anything is read",
    "broker.log.note.SignatureLine.key_id": "four bytes, there since the line was parsed",
    "broker.log.notekeys._first_bytes": "of a hash made here",
    "broker.node.directorygate._taken_alone": _OWN,
    "broker.node.staging.Staging._request": _OWN,
    "broker.node.drafting._alert": "a body that `api-draft` read; pydantic alone",
    "broker.node.ids.from_ms": _OWN,
    "broker.node.ids.new_id": "random bytes made here",
    "broker.node.receiveditem.item_of": "a hash in an alert that was validated",
    "broker.node.drafts.Drafts._draft": _OWN,
    "broker.node.inbox.Inbox._kept": _OWN,
    "broker.node.outgoing.read_prepared": _OWN,
    "broker.node.submissions._found": _OWN,
    "broker.store.witnessed.WitnessedAt.read": "so few digits that a calendar has all of them",
    "broker.store.archive.write_archive": "it writes a tar",
    "broker.transport.answers.stored": _HUB,
    "broker.transport.greeting.shown_until": "a certificate, once OpenSSL took it",
    "keys.directory.signers.TokenSigner.from_priv_key_uri": "a key parsed already",
    "keys.held.key_of": "out of an opened key store; any ValueError is caught",
    "keys.kms.read_kms_settings": "the administrator's own private file; any ValueError is caught",
    "keys.tokenuri.parse_token_uri": "text that a person types; hypothesis in test_tokenuri.py",
}
