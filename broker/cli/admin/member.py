"""`kentong member`: applies for membership, admits, revokes and lists members."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, kid_from, propose_own, read_file, write_proposal
from broker.cli.admin.secret import (
    MinistryTokenOption,
    PassphraseFile,
    TokenOption,
    answers,
    named_key,
    passphrase,
)
from broker.cli.desk import AsJSON
from broker.cli.text import country, say
from broker.errors import BrokerError
from broker.settings import home, settings
from keys.directory.ceremony import sign_proposal
from keys.directory.edits import (
    new_member_document,
    with_revoked_key,
    with_revoked_officer,
    with_suspension,
)
from keys.directory.founding import application_of
from keys.directory.holders import create_ministry, ministry_in_token
from keys.directory.layout import member_files
from keys.directory.proposal import MAX_PROPOSAL_BYTES, parse_application
from keys.files import make_private_folder
from keys.home import Home
from keys.identity import create_identity, identity_in
from schemas.directory import (
    MemberKind,
    OfficersDocument,
    RegionMember,
    RevocationReason,
    json_document,
)
from schemas.policy import MAX_POLICY_BYTES, parse_policy
from schemas.registry import reads

app = typer.Typer(no_args_is_help=True)


@app.callback()
def member() -> None:
    """Apply for membership, admit, revoke and list members."""


@app.command("apply")
def apply_(
    code: Annotated[str, typer.Argument(help="Code of the state or partner.")],
    policy: Annotated[Path, typer.Option(help="Its policy, TOML.")],
    out: Annotated[Path, typer.Option(help="Where to write the application.")],
    pkcs11: TokenOption = "",
    ministry_pkcs11: MinistryTokenOption = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a member's keys in this home, and the application that the others sign.

    The node's signing key and the ministry's directory key may lie in hardware tokens: make them
    there first, with kentong keys make.

    Example: kentong member apply PH --policy PH.toml --out PH-application.json
    """
    raw = read_file(policy, MAX_POLICY_BYTES)
    if parse_policy(raw).member != code:
        raise BrokerError("wrong-member", f"{policy} is the policy of another")
    if out.exists():
        raise BrokerError("exists", f"{out} is there already; choose another name")
    secret, now, log2n = passphrase(passphrase_file), clock.now(), settings().scrypt_log2n
    place = Home(home())
    make_private_folder(home())
    make_private_folder(place.node_keys.parent)
    signing, token = named_key(pkcs11), named_key(ministry_pkcs11)
    ministry = (
        create_ministry(place.ministry(code), secret, code, log2n=log2n)
        if token is None
        else ministry_in_token(place.ministry(code), code, token)
    )
    store = create_identity(place.node_keys, secret, code, now=now, log2n=log2n, signing=signing)
    names = {"en": country(code)}
    application = application_of(
        ministry.key,
        document=new_member_document(identity_in(store), names=names, reads=reads(), now=now),
        officers=OfficersDocument(member=code, officers=()),
        policy=raw,
    )
    out.write_bytes(application.model_dump_json(indent=1).encode() + b"\n")
    screen.line(say("applied", "Hand {out} to the region; keep this home's keys safe.", out=out))


@app.command()
def add(
    application: Annotated[Path, typer.Argument(help="The application.")],
    out: Annotated[Path, typer.Option(help="Where to write the proposal.")],
    group: Annotated[list[str] | None, typer.Option(help="Groups; repeat.")] = None,
    kind: Annotated[MemberKind, typer.Option(help="state or partner.")] = MemberKind.STATE,
    holds_root: Annotated[
        bool, typer.Option("--holds-root", help="Its signature counts for the region.")
    ] = False,
) -> None:
    """Draw up the admission of a member, which the threshold and the member itself sign.

    Example: kentong member add PH-application.json --group asean --out admit-ph.json
    """
    applied = parse_application(read_file(application, MAX_PROPOSAL_BYTES))
    draft = base().draft()
    region = RegionMember(kind=kind, groups=tuple(sorted(group or ())))
    draft.admit(applied, region, holds_root=holds_root)
    write_proposal(draft.proposal(), out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


@app.command()
def revoke(
    code: Annotated[str, typer.Argument(help="Code of the member.")],
    out: Annotated[Path, typer.Option(help="Where to write the change.")],
    key: Annotated[str, typer.Option(help="Identifier of a key of its node.")] = "",
    officer: Annotated[str, typer.Option(help="Pseudonym of an officer.")] = "",
    whole: Annotated[
        bool, typer.Option("--whole", help="The member itself; needs the threshold.")
    ] = False,
    reason: Annotated[RevocationReason, typer.Option(help="Why.")] = RevocationReason.COMPROMISED,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Revoke a key or an officer of a member, signed by the member; or the whole member.

    A whole member loses its seat and its groups once the threshold has signed; its keys stay, to
    judge the past by. To stop it at once, two members suspend it: kentong directory propose.

    Examples:
      kentong member revoke SG --key 0f3c... --reason lost --out revoke-key.json
      kentong member revoke SG --officer SG-7Q4 --reason left-service --out revoke-7q4.json
      kentong member revoke TH --whole --out revoke-th.json
    """
    if sum((bool(key), bool(officer), whole)) != 1:
        raise typer.BadParameter("name one of --key, --officer and --whole")
    known, now = base(), clock.now()
    if code not in known.content.documents:
        raise BrokerError("unknown-member", f"the directory has no member {code}")
    if whole:
        draft, standing = known.draft(), known.content.revocations
        draft.expel(code, with_suspension(standing, code, kid=None, at=now, reason=reason))
        write_proposal(draft.proposal(), out)
        screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))
        return
    files, (document_path, _, officers_path) = known.content.documents[code], member_files(code)
    if officer:
        officers = with_revoked_officer(files.officers, officer, at=now, reason=reason)
        changed = {officers_path: json_document(officers)}
    else:
        document = with_revoked_key(files.document, kid_from(key), at=now, reason=reason)
        changed = {document_path: json_document(document)}
    propose_own(code, changed, answers(passphrase_file), out)
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


@app.command()
def rekey(
    code: Annotated[str, typer.Argument(help="Code of the member.")],
    out: Annotated[Path, typer.Option(help="Where to write the proposal.")],
    ministry_pkcs11: MinistryTokenOption = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a new directory key for a member, and the proposal that puts it in the old one's place.

    The old key may be lost: the other members' signatures admit the new one. It is kept in a folder
    beside, until you destroy it.

    Example: kentong member rekey SG --out rekey-sg.json
    """
    known = base()
    if out.exists():
        raise BrokerError("exists", f"{out} is there already; choose another name")
    if code not in known.content.owners:
        raise BrokerError("unknown-member", f"the directory has no member {code}")
    token, ask = named_key(ministry_pkcs11), answers(passphrase_file)
    folder = Home(home()).ministry(code)
    old = folder.with_name(f"{code}.{known.content.owners[code][:8]}")
    if old.exists():
        raise BrokerError("exists", f"{old} is there already: the last change is not in force yet")
    if folder.exists():
        folder.rename(old)
    if token is None:
        secret = ask("passphrase")
        ministry = create_ministry(folder, secret, code, log2n=settings().scrypt_log2n)
        ask = answers(secret)
    else:
        ministry = ministry_in_token(folder, code, token)
    draft = known.draft()
    draft.replace_key(code, ministry.key)
    signer = ministry.signer(ask)
    proposal, _ = sign_proposal(draft.proposal(), known.content, signer)
    write_proposal(proposal, out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the members of the region.

    Example: kentong member list
    """
    known = base().content.region.members
    rows = [(code, str(m.kind), ",".join(m.groups)) for code, m in sorted(known.items())]
    if as_json:
        shown = [{"code": c, "kind": k, "groups": g.split(",")} for c, k, g in rows]
        screen.as_json("members", members=shown)
        return
    screen.table(("member", "kind", "groups"), rows)
