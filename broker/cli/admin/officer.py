"""`kentong officer`: certifies and revokes the officers of a member."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, propose_own
from broker.cli.admin.secret import PassphraseFile, answers, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.cli.words import clock as clock_text
from broker.errors import BrokerError
from broker.settings import home, settings
from keys.directory import layout
from keys.directory.edits import with_officer, with_revoked_officer
from keys.home import Home
from keys.officers import create_officer_key
from schemas.directory import OfficerRole, OfficersDocument, RevocationReason, json_document

app = typer.Typer(no_args_is_help=True)
Member = Annotated[str, typer.Option(help="Code of the member.")]
Out = Annotated[Path, typer.Option(help="Where to write the signed change.")]


@app.callback()
def officer() -> None:
    """Certify and revoke officers, under pseudonyms that only the member resolves."""


@app.command()
def add(
    officer_id: Annotated[str, typer.Argument(help="Pseudonym, for example SG-7Q4.")],
    member: Member,
    out: Out,
    role: Annotated[list[OfficerRole] | None, typer.Option(help="By default officer.")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make an officer's key and a signed change that certifies it.

    Example: kentong officer add SG-7Q4 --member SG --out add-7q4.json
    """
    secret = passphrase(passphrase_file)
    documents = _documents(member)
    path = Home(home()).officer(officer_id)
    key = create_officer_key(
        path, secret, member=member, officer_id=officer_id, log2n=settings().scrypt_log2n
    )
    changed = with_officer(
        documents,
        officer_id=officer_id,
        public=key.public,
        roles=tuple(role or (OfficerRole.OFFICER,)),
        now=clock.now(),
    )
    files = {layout.member_files(member)[2]: json_document(changed)}
    propose_own(member, files, answers(secret), out)
    screen.line(say("officer-key", "The officer's key is in {path}.", path=path))
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


@app.command()
def revoke(
    officer_id: Annotated[str, typer.Argument(help="Pseudonym.")],
    member: Member,
    out: Out,
    reason: Annotated[RevocationReason, typer.Option(help="Why.")] = RevocationReason.LEFT_SERVICE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a signed change that revokes an officer from now on.

    Example: kentong officer revoke SG-7Q4 --member SG --reason lost --out revoke-7q4.json
    """
    changed = with_revoked_officer(_documents(member), officer_id, at=clock.now(), reason=reason)
    ask = answers(passphrase_file)
    propose_own(member, {layout.member_files(member)[2]: json_document(changed)}, ask, out)
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


@app.command("list")
def list_(member: Member, as_json: AsJSON = False) -> None:
    """List the officers that a member certified.

    Example: kentong officer list --member SG
    """
    rows = [
        {
            "id": each.id,
            "roles": " ".join(str(role) for role in each.roles),
            "until": clock_text(each.not_after),
            "revoked": "" if each.revoked_at is None else clock_text(each.revoked_at),
        }
        for each in _documents(member).officers
    ]
    if as_json:
        screen.as_json("officers", officers=rows)
        return
    screen.table(("id", "roles", "until", "revoked"), [tuple(row.values()) for row in rows])


def _documents(member: str) -> OfficersDocument:
    known = base().content.documents
    if member not in known:
        raise BrokerError("unknown-member", f"the directory has no member {member}")
    return known[member].officers
