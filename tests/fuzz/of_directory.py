"""Parsers of the directory: TUF metadata, documents, policies, ceremonies' files, key files."""

from functools import cache, partial
from pathlib import Path

from broker.cli.admin.changes import read_proposal
from broker.hub.erased import read_erased
from broker.hub.memory import read_memory
from broker.hub.suspensions import read_suspensions
from broker.hub.timekeeping import read_time
from broker.policy.question import parse_cases
from broker.policy.replay import received_in
from keys.auditors import parse_auditors
from keys.directory.bundle import parse_bundle
from keys.directory.client import DirectoryClient
from keys.directory.holders import load_ministry
from keys.directory.metadata import Snapshot, Targets, Timestamp, read_metadata
from keys.directory.proposal import (
    Proposal,
    parse_application,
    proposed_content,
)
from keys.directory.trust import TrustedDirectory, read_root
from keys.keystore import KeyStore
from keys.officers import load_officer_key
from keys.passphrase import read_passphrase
from schemas.directory import (
    HubDocument,
    MemberDocument,
    OfficersDocument,
    RegionMembers,
    Revocations,
    parse_json_document,
    parse_toml_document,
)
from schemas.policy import parse_policy
from tests.fuzz.parser import CORPUS, Parser, folder, from_file

PASSPHRASE = b"correct horse battery staple"
_JSON = ("schemas.directory.parse_json_document", "schemas.directory._validated")
_TOML = ("schemas.directory.parse_toml_document", "schemas.directory._validated")
_STORE = ("keys.keystore._parse", "keys.keystore._unseal")


@cache
def root() -> bytes:
    return (CORPUS / "root" / "1").read_bytes()


def trusted(raw: bytes) -> object:
    return TrustedDirectory(parse_bundle(raw), pinned_root=root()).view()


def kept(raw: bytes) -> object:
    path = folder() / "kept"
    path.mkdir(mode=0o700, exist_ok=True)
    client = DirectoryClient(path, pinned_root=root())
    (path / "directory.json").write_bytes(raw)
    (path / "directory.json").chmod(0o600)
    return client.load()


def proposed(path: Path) -> Proposal:
    """What `directory sign` does with a file before anybody trusts it."""
    proposal = read_proposal(path)
    proposal.root()
    base = None
    if proposal.base is not None:
        base = TrustedDirectory(proposal.base, pinned_root=root()).content
    proposed_content(proposal, base)
    return proposal


def applied(raw: bytes) -> object:
    application = parse_application(raw)
    return application.key.key()


def ministry(raw: bytes) -> object:
    path = folder() / "ministry"
    path.mkdir(mode=0o700, exist_ok=True)
    (path / "signer.json").write_bytes(raw)
    (path / "signer.json").chmod(0o600)
    return load_ministry(path)


def store(path: Path) -> object:
    opened = KeyStore.open(path, PASSPHRASE)
    opened.reload()
    return opened.entries


DIRECTORY = (
    *(
        Parser(
            name,
            partial(read_metadata, kind, max_bytes=2**20),
            ("keys.directory.metadata.read_metadata",),
            form="json",
            wire=True,
        )
        for name, kind in (
            ("timestamp", Timestamp),
            ("snapshot", Snapshot),
            ("targets", Targets),
            ("member-role", Targets),
        )
    ),
    Parser("root", read_root, ("keys.directory.trust.read_root",), form="json", wire=True),
    Parser("bundle", parse_bundle, ("keys.directory.bundle.parse_bundle",), form="json", wire=True),
    Parser(
        "bundle-trusted",
        trusted,
        ("keys.directory.documents.read_document", "keys.directory.documents.read_policy",
         "keys.directory.documents.read_member_files", "keys.directory.signers.key_id"),
        form="json",
        like="bundle",
        examples=40,
        wire=True,
    ),
    Parser(
        "bundle-kept",
        kept,
        ("keys.directory.client.DirectoryClient.load",),
        form="json",
        like="bundle",
        examples=20,
    ),
    Parser(
        "proposal",
        from_file("proposal.json", proposed),
        ("keys.directory.proposal.parse_proposal", "keys.directory.proposal.Part.read",
         "broker.cli.admin.changes.read_proposal"),
        form="json",
        examples=40,
        wire=True,
    ),
    Parser("application", applied, ("keys.directory.proposal.parse_application",), form="json",
           wire=True),
    Parser("member", partial(parse_json_document, MemberDocument), _JSON, None, "json", wire=True),
    Parser("officers", partial(parse_json_document, OfficersDocument), _JSON, None, "json",
           wire=True),
    Parser("revocations", partial(parse_json_document, Revocations), _JSON, None, "json",
           wire=True),
    Parser("members", partial(parse_toml_document, RegionMembers), _TOML, None, "toml", wire=True),
    Parser("hub", partial(parse_toml_document, HubDocument),
           (*_TOML, "schemas.directory._bytes_of_hex"), None, "toml", wire=True),
    Parser("policy", parse_policy, ("schemas.policy.parse_policy",), None, "toml", wire=True),
    Parser("policy-cases", parse_cases, ("broker.policy.question.parse_cases",), None, "toml"),
    Parser("received", received_in, ("broker.policy.replay.received_in",
           "broker.policy.replay._received"), None, "json"),
    Parser("auditors", parse_auditors, ("keys.auditors.parse_auditors",), None, "json"),
    Parser("ministry", ministry, ("keys.directory.holders.load_ministry",), None, "json"),
    Parser(
        "key-store",
        from_file("node.keystore", store),
        ("keys.keystore.KeyStore.open", *_STORE),
        examples=15,
    ),
    Parser(
        "officer-key",
        from_file("officer.keystore", lambda path: load_officer_key(path, PASSPHRASE)),
        ("keys.officers.load_officer_key",),
        examples=15,
    ),
    Parser(
        "passphrase",
        from_file("passphrase", read_passphrase),
        ("keys.passphrase.read_passphrase",),
        form="lines",
    ),
    Parser(
        "stream-memory",
        from_file("streams.json", read_memory),
        ("broker.store.digested.read_digested",),
        form="json",
    ),
    Parser(
        "hub-erased",
        from_file("erased.json", read_erased),
        ("broker.store.digested.read_digested",),
        form="json",
    ),
    Parser(
        "hub-clock",
        from_file("clock.json", read_time),
        ("broker.store.digested.read_digested",),
        form="json",
    ),
    Parser(
        "suspensions",
        from_file("suspensions.json", read_suspensions),
        ("broker.store.digested.read_digested",),
        form="json",
    ),
)  # fmt: skip
