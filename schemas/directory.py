"""The documents of the directory: who is a member, with which keys, officers and hub.

Each is one signed target file (design: the directory is a TUF repository). What policies rely on
(kind, groups, flags) stands only in `RegionMembers`, which the threshold signs; a member's own
document has no field for it, so that nobody admits himself to a group. Parsing authenticates
nothing: the bytes come from a verified target.
"""

import itertools
import json
import tomllib
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator
from pydantic import ValidationError as _Invalid

from schemas.errors import SchemaError, UnknownVersionError
from schemas.label import MAX_MEMBERS, MemberCode, Moment, Strict, TypeName

FORMAT: Final = 1
MAX_DOCUMENT_BYTES: Final = 512 * 1024  # ten years of keys and some hundred officers stay below
MAX_KEYS: Final = 400  # of one kind in one document
MAX_OFFICERS: Final = 2000
MAX_SERVER_URLS: Final = 1329  # five servers of 265 characters, the longest name of DNS in each


def _bytes_of_hex(value: object) -> object:
    if isinstance(value, str):
        if value != value.lower():
            raise ValueError("hexadecimal digits are written in lower case")
        return bytes.fromhex(value)
    return value


_HEX: Final = (BeforeValidator(_bytes_of_hex), PlainSerializer(bytes.hex, when_used="json"))
PublicKey = Annotated[bytes, Field(min_length=32, max_length=32), *_HEX]
"""A raw Ed25519 public key; hexadecimal in the file."""

EncryptionPublicKey = Annotated[bytes, Field(min_length=1216, max_length=1216), *_HEX]
"""A raw ML-KEM-768 and X25519 public key (suite 1); hexadecimal in the file."""

LogPublicKey = Annotated[bytes, Field(min_length=1312, max_length=1312), *_HEX]
"""A raw ML-DSA-44 public key; hexadecimal in the file."""

LogOrigin = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[a-z0-9][a-z0-9./-]*$")]
"""A log's name for ever: a URL without a scheme."""

KeyId = Annotated[bytes, Field(min_length=16, max_length=16), *_HEX]
Epoch = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
OfficerId = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,31}$")]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text for people."""


class RevocationReason(StrEnum):
    """Why a key, an officer or a member stands revoked."""

    COMPROMISED = "compromised"
    LOST = "lost"
    SUPERSEDED = "superseded"
    LEFT_SERVICE = "left-service"
    SUSPENDED = "suspended"


class OfficerRole(StrEnum):
    """What the holder of an officer certificate may sign or read as."""

    OFFICER = "officer"
    SYSTEM = "system"
    AUDITOR = "auditor"


class MemberKind(StrEnum):
    """A state of the region, or a partner whom its states admitted."""

    STATE = "state"
    PARTNER = "partner"


class Validity(Strict):
    """When a key may be relied on: from `not_before`, before `not_after`, unless revoked."""

    not_before: Moment
    not_after: Moment
    revoked_at: Moment | None = None
    reason: RevocationReason | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not self.not_before < self.not_after:
            raise ValueError("not_before is not before not_after")
        if (self.revoked_at is None) != (self.reason is None):
            raise ValueError("revoked_at and reason stand together")
        return self


class VerificationKey(Validity):
    """A key under which a node or a gateway signs. It is kept for ever, to judge old envelopes."""

    key: PublicKey


class EncryptionKey(Validity):
    """A key to which content is sealed during one month."""

    key: EncryptionPublicKey
    epoch: Epoch


class WitnessKey(Validity):
    """A key under which a member's node cosigns the log. It is kept for ever, for auditors."""

    key: LogPublicKey


class Officer(Validity):
    """A certified officer or system, under a pseudonym that only its own state can resolve."""

    id: OfficerId
    key: PublicKey
    roles: Annotated[tuple[OfficerRole, ...], Field(min_length=1, max_length=3)]


class NatsKeys(Strict):
    """Raw Ed25519 public keys of a member's broker account and of the users it admits."""

    account: PublicKey
    users: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=16)]


class Contact(Strict):
    """Whom to call, in one line each."""

    role: Line
    reach: Line


class MemberDocument(Strict):
    """`members/<CC>/member.json`: what a member says about itself, signed by it alone."""

    format: Literal[1] = FORMAT
    member: MemberCode
    names: Annotated[dict[str, Line], Field(min_length=1, max_length=16)]
    contacts: Annotated[tuple[Contact, ...], Field(max_length=16)] = ()
    verification_keys: Annotated[
        tuple[VerificationKey, ...], Field(min_length=1, max_length=MAX_KEYS)
    ]
    encryption_keys: Annotated[tuple[EncryptionKey, ...], Field(max_length=MAX_KEYS)]
    nats: NatsKeys
    witness_keys: Annotated[tuple[WitnessKey, ...], Field(max_length=MAX_KEYS)] = ()
    reads: Annotated[
        dict[TypeName, Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=64)]],
        Field(max_length=64),
    ]

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        _check_distinct(tuple(entry.key for entry in self.verification_keys))
        _check_distinct(tuple(entry.key for entry in self.encryption_keys))
        _check_distinct(tuple(entry.key for entry in self.witness_keys))
        return self


class OfficersDocument(Strict):
    """`members/<CC>/officers.json`: the officers a member certifies, signed by it alone."""

    format: Literal[1] = FORMAT
    member: MemberCode
    officers: Annotated[tuple[Officer, ...], Field(max_length=MAX_OFFICERS)]

    @model_validator(mode="after")
    def _officers_differ(self) -> Self:
        _check_distinct(tuple(officer.key for officer in self.officers))
        return self


class RegionMember(Strict):
    """What the threshold says of a member, and policies may rely on."""

    kind: MemberKind
    groups: Annotated[tuple[GroupName, ...], Field(max_length=32)] = ()
    flags: Annotated[tuple[GroupName, ...], Field(max_length=32)] = ()


class WitnessSet(Strict):
    """Whose cosignatures make the quorum, from a time on until the next set begins."""

    since: Moment
    members: Annotated[tuple[MemberCode, ...], Field(max_length=MAX_MEMBERS)]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.members)) != len(self.members):
            raise ValueError("a witness stands twice")
        return self


class Lifted(Strict):
    """A suspension that the threshold lifted: the entry of `Revocations` it makes void."""

    member: MemberCode
    kid: KeyId | None = None
    at: Moment


class RegionMembers(Strict):
    """`region/members.toml`, signed by the threshold.

    Attributes:
        members: Who is a member, and what policies may rely on about each.
        witness_sets: Who witnessed the log when, oldest first; past ones stay, for auditors.
        lifted: Suspensions void from now on; the entries themselves stay where they are.
        groups: Further groups that policies may name, though nobody belongs to them now.
    """

    format: Literal[1] = FORMAT
    members: Annotated[dict[MemberCode, RegionMember], Field(max_length=MAX_MEMBERS)]
    witness_sets: Annotated[tuple[WitnessSet, ...], Field(max_length=1000)] = ()
    lifted: Annotated[tuple[Lifted, ...], Field(max_length=1000)] = ()
    groups: Annotated[tuple[GroupName, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [each.since for each in self.witness_sets]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise ValueError("the sets of witnesses do not stand in the order of their times")
        return self

    def group_names(self) -> frozenset[str]:
        """Return the names of all groups, those without a member too."""
        return frozenset(self.groups).union(*(member.groups for member in self.members.values()))


def _pem(value: str) -> str:
    if not value.startswith("-----BEGIN CERTIFICATE-----"):
        raise ValueError("not a certificate in PEM")
    return value


class LogDocument(Strict):
    """How the log is recognised: its name for ever, and the keys under which it is signed.

    Attributes:
        ed25519: Of the one signature on each checkpoint.
        ml_dsa_44: Of the other.
        sequencer: Under which the sequencer states gaps, faults and directory versions.
    """

    origin: LogOrigin
    ed25519: PublicKey
    ml_dsa_44: LogPublicKey
    sequencer: PublicKey


class HubDocument(Strict):
    """`region/hub.toml`, signed by the threshold: how to reach and recognise the hub.

    Attributes:
        suite: The one encryption suite of the region; never negotiated.
        server_url: Where members connect, `tls://host:port`; of a cluster, every server's, with
            commas between them.
        tls_ca_pem: The authority under which the hub's servers must stand.
        operator_key: Raw public key of the broker's operator.
        account_key: Raw public key of the hub's own broker account.
        gateway_keys: Under which decisions are signed.
        log: The log of decisions; absent until it is founded, and then for ever there.
        auditors_key: To which each decision's opening is sealed; only a threshold of members can
            open it.
    """

    format: Literal[1] = FORMAT
    suite: Literal[1]
    server_url: Annotated[str, Field(max_length=MAX_SERVER_URLS, pattern=r"^(tls|wss)://[!-~]+$")]
    tls_ca_pem: Annotated[str, Field(max_length=16384), AfterValidator(_pem)]
    operator_key: PublicKey
    account_key: PublicKey
    gateway_keys: Annotated[tuple[VerificationKey, ...], Field(min_length=1, max_length=64)]
    log: LogDocument | None = None
    auditors_key: EncryptionPublicKey | None = None


class Revocation(Strict):
    """A suspension by two other members: of one key, or of a whole member if `kid` is absent."""

    member: MemberCode
    kid: KeyId | None = None
    at: Moment
    reason: RevocationReason


class Revocations(Strict):
    """`region/revocations.json`, signed by any two members; it can suspend and nothing else."""

    format: Literal[1] = FORMAT
    entries: Annotated[tuple[Revocation, ...], Field(max_length=1000)]


Document: TypeAlias = MemberDocument | OfficersDocument | RegionMembers | HubDocument | Revocations
DocumentT = TypeVar("DocumentT", bound=Strict)


def parse_json_document(kind: type[DocumentT], raw: bytes) -> DocumentT:
    """Return the document in the JSON text `raw`, which is not authenticated here.

    Raises:
        UnknownVersionError: A `format` that this software does not read.
        SchemaError: Too long, not JSON, a repeated key, or not of this form.
    """
    return _validated(kind, _bounded(raw, lambda: json.loads(raw, object_pairs_hook=_unique)))


def parse_toml_document(kind: type[DocumentT], raw: bytes) -> DocumentT:
    """Return the document in the TOML text `raw`, which is not authenticated here.

    Raises:
        UnknownVersionError: A `format` that this software does not read.
        SchemaError: Too long, not TOML, or not of this form.
    """
    return _validated(kind, _bounded(raw, lambda: tomllib.loads(raw.decode("utf-8"))))


def json_document(document: Document) -> bytes:
    """Return the JSON text of a document: sorted keys, one per line, as people compare them."""
    fields = document.model_dump(mode="json", exclude_none=True)
    return json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def _check_distinct(keys: tuple[bytes, ...]) -> None:
    if len(set(keys)) != len(keys):
        raise ValueError("a key stands twice")


def _bounded(raw: bytes, parse: Callable[[], object]) -> dict[str, object]:
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise SchemaError("too-large", f"a document has at most {MAX_DOCUMENT_BYTES} bytes")
    try:
        fields = parse()
    except (ValueError, RecursionError):  # both parsers' errors are ValueErrors, and quote input
        raise SchemaError("bad-document", "the text cannot be parsed") from None
    if not isinstance(fields, dict):
        raise SchemaError("bad-document", "a document is a table of fields")
    return fields


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _validated(kind: type[DocumentT], fields: dict[str, object]) -> DocumentT:
    if type(fields.get("format")) is not int or fields["format"] != FORMAT:
        raise UnknownVersionError("unknown-document-version", "the document's format is not known")
    try:
        # Through JSON text, where strict validation reads a time or a list as JSON writes it.
        return kind.model_validate_json(json.dumps(fields, default=_json_time))
    except (_Invalid, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, _Invalid):
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SchemaError("bad-document", first["msg"], field=where) from None
        raise SchemaError("bad-document", "a value is of an unknown kind") from None


def _json_time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError
