"""`kentong directory`: shows and verifies the directory that a hub publishes or a node holds."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import (
    base,
    kid_from,
    ministry_of,
    read_file,
    read_proposal,
    write_proposal,
)
from broker.cli.admin.secret import PassphraseFile, answers, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.cli.words import clock as clock_text
from broker.cli.words import expiry_line
from broker.errors import BrokerError
from broker.hub.broker_keys import broker_keys_wait
from broker.hub.place import HUB_STORE, HubPlace
from broker.hub.rekeying import take_up_authority, take_up_decision_key
from broker.settings import home
from keys.auditors import MAX_FILE_BYTES as MAX_AUDITORS_BYTES
from keys.auditors import parse_auditors
from keys.directory import layout
from keys.directory.ceremony import progress, sign_proposal
from keys.directory.client import DirectoryClient
from keys.directory.edits import with_suspension
from keys.directory.holders import load_online_signers, take_up_online_keys
from keys.directory.repository import DirectoryRepository
from keys.directory.source import PublishedDirectory
from keys.directory.toml_text import hub_toml
from keys.directory.trust import TrustedDirectory
from keys.directory.view import DirectoryView
from keys.files import replace_file
from keys.home import Home
from schemas.directory import HubDocument, RevocationReason, parse_toml_document
from schemas.policy import MAX_POLICY_BYTES, parse_policy

app = typer.Typer(no_args_is_help=True)


@app.callback()
def directory() -> None:
    """Show and verify the directory of members, keys and policies."""


@app.command()
def show(as_json: AsJSON = False) -> None:
    """Show the members as the verified directory names them, and what must be signed again soon.

    Example: kentong directory show
    """
    view = _view(home())
    members = [view.member(code) for code in view.members()]
    expiring = view.expiring(clock.now())
    if as_json:
        screen.as_json(
            "directory",
            root=view.version.root,
            snapshot=view.version.snapshot,
            hash=view.version.hash.hex(),
            fresh_until=view.fresh_until.isoformat(),
            members=[
                {
                    "code": member.code,
                    "kind": str(member.kind),
                    "groups": sorted(member.groups),
                    "officers": len(member.certified),
                    "policy": member.policy_hash.hex(),
                    "suspended_at": member.suspended_at and member.suspended_at.isoformat(),
                }
                for member in members
            ],
            expiring=[
                {"role": each.role, "expires_at": each.expires_at.isoformat()} for each in expiring
            ],
        )
        return
    screen.pairs(
        [
            (say("directory-version", "version"), f"{view.version.root}.{view.version.snapshot}"),
            (say("directory-hash", "hash"), view.version.hash.hex()),
            (say("directory-fresh", "fresh until"), clock_text(view.fresh_until)),
        ]
    )
    screen.table(
        ("member", "kind", "groups", "officers", "policy"),
        [
            (
                member.code,
                str(member.kind),
                ",".join(sorted(member.groups)),
                str(len(member.certified)),
                member.policy_hash.hex()[:16],
            )
            for member in members
        ],
    )
    for each in expiring:
        screen.line(expiry_line(each))


@app.command()
def verify(as_json: AsJSON = False) -> None:
    """Verify every signature, threshold and hash again, from the region's root down.

    Ends with 0 if all verify and the directory is fresh.

    Example: kentong directory verify
    """
    view = _view(home())
    view.check_fresh(clock.now())
    if as_json:
        screen.as_json("directory-verify", snapshot=view.version.snapshot)
        return
    text = say("directory-good", "Version {version} verifies.", version=view.version.snapshot)
    screen.line(text)


@app.command()
def propose(
    out: Annotated[Path, typer.Option(help="Where to write the proposal.")],
    renew: Annotated[
        list[str] | None, typer.Option(help="Role to sign again before it lapses; repeat.")
    ] = None,
    suspend: Annotated[str, typer.Option(help="Member to suspend; needs two signatures.")] = "",
    key: Annotated[
        str, typer.Option(help="With --suspend: this key of the member, not all of it.")
    ] = "",
    reason: Annotated[
        RevocationReason, typer.Option(help="With --suspend: why.")
    ] = RevocationReason.SUSPENDED,
    agreement: Annotated[
        Path | None, typer.Option(help="New regional agreement; needs the threshold.")
    ] = None,
    hub: Annotated[
        Path | None, typer.Option(help="New hub.toml: its keys, its address; needs the threshold.")
    ] = None,
    witnesses: Annotated[
        str,
        typer.Option(help="Members that witness the log from now on, with commas; the threshold."),
    ] = "",
    auditors: Annotated[
        Path | None,
        typer.Option(help="auditors.json: to whom decisions are sealed; the threshold."),
    ] = None,
    lift: Annotated[
        str, typer.Option(help="Member whose suspensions end; needs the threshold.")
    ] = "",
) -> None:
    """Draw up a change for the ministries to sign.

    Example: kentong directory propose --suspend TH --out suspend-th.json
    """
    known = base()
    draft = known.draft()
    for role in renew or ():
        draft.renew(role)
    if suspend:
        if suspend not in known.content.documents:
            raise BrokerError("unknown-member", f"the directory has no member {suspend}")
        now, kid = clock.now(), kid_from(key) if key else None
        document = known.content.revocations
        draft.put_revocations(with_suspension(document, suspend, kid=kid, at=now, reason=reason))
    if agreement is not None:
        raw = read_file(agreement, MAX_POLICY_BYTES)
        parse_policy(raw)
        draft.put_files(layout.TARGETS, {layout.AGREEMENT_FILE: raw})
    if hub is not None:
        raw = read_file(hub, layout.MAX_FILE_BYTES)
        parse_toml_document(HubDocument, raw)
        draft.put_files(layout.TARGETS, {layout.HUB_FILE: raw})
    if auditors is not None:
        named = _with_auditors(known.content.hub, auditors)
        draft.put_files(layout.TARGETS, {layout.HUB_FILE: named})
    if witnesses:
        draft.set_witnesses([code.strip() for code in witnesses.split(",")])
    if lift:
        draft.lift(lift)
    write_proposal(draft.proposal(), out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="Proposal.")],
    member: Annotated[str, typer.Option(help="Whose signature.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the member's name.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Say what a proposal changes, and sign it for a member.

    Example: kentong directory sign change.json --member SG
    """
    proposal = read_proposal(file)
    known = None
    if proposal.base is not None:  # what it changes comes with it, and verifies from our own root
        known = TrustedDirectory(proposal.base, pinned_root=Home(home()).pinned_root()).content
    for part in proposal.parts:
        screen.line(say("changes-role", "It changes the role {role}.", role=part.role))
    for path, text in sorted(proposal.files.items()):
        before = known.files.get(path) if known is not None else None
        said = "new" if before is None else "unchanged" if before == text.encode() else "changed"
        screen.line(f"  {path}: {said}")
    if not yes and typer.prompt(say("ask-member", "To sign, type the member's code")) != member:
        raise BrokerError("not-confirmed", "another code was typed; nothing was signed")
    signer = ministry_of(member).signer(answers(passphrase_file))
    signed, roles = sign_proposal(proposal, known, signer)
    replace_file(file, signed.to_bytes())
    screen.line(say("signed", "Signed for {roles}.", roles=", ".join(roles)))
    for state in progress(signed, known):
        if state.needed:
            screen.line(f"  {state.role}: {state.needed} more")


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="Signed proposal.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a signed proposal into force, at the hub; refused below the threshold.

    Example: kentong directory publish change.json
    """
    proposal = read_proposal(file)
    place = Home(home())
    secret, root = passphrase(passphrase_file), proposal.root()
    online = load_online_signers(place.hub_keys, secret, root=root)
    repository = DirectoryRepository(place.directory, pinned_root=place.pinned_root())
    new = repository.publish(proposal, online=online, now=clock.now())
    text = say("published", "Version {version} is in force.", version=new.version.snapshot)
    screen.line(text)
    taken = take_up_online_keys(place.hub_keys, secret, root=new.root)
    taken |= take_up_decision_key(place.hub_keys, secret, new.content.hub)
    if (place.hub_keys / HUB_STORE).exists():
        taken |= broker_keys_wait(HubPlace(home()), secret, new.content.hub)
    if take_up_authority(HubPlace(home()), secret, new.content.hub) or taken:
        screen.line(say("restart-hub", "The hub has new keys: restart it now, to use them."))


def _with_auditors(document: HubDocument, file: Path) -> bytes:
    """Return hub.toml as it is in force, with another key of auditors."""
    key = parse_auditors(read_file(file, MAX_AUDITORS_BYTES)).key
    return hub_toml(document.model_copy(update={"auditors_key": key}))


def _view(folder: Path) -> DirectoryView:
    place = Home(folder)
    if place.directory.is_dir():
        return PublishedDirectory.at(folder).view()
    client = DirectoryClient(place.node_directory, pinned_root=place.pinned_root())
    copy = client.load()
    if copy is None:
        raise BrokerError("no-directory", f"{folder} holds no directory: run the node once")
    return copy.view
