"""`kentong region`: founds a region, and lets a machine trust its root."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import read_file, read_proposal, write_proposal
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.text import say
from broker.settings import home, settings
from keys.directory.drafting import Draft
from keys.directory.founding import complete_founding
from keys.directory.holders import create_online_keys
from keys.directory.layout import MAX_FILE_BYTES
from keys.directory.proposal import MAX_PROPOSAL_BYTES, parse_application
from keys.directory.repository import founding_root
from keys.home import Home
from keys.primitives.hashing import sha256
from schemas.directory import MemberKind, RegionMember
from schemas.policy import parse_policy

app = typer.Typer(no_args_is_help=True)


@app.callback()
def region() -> None:
    """Found a region, and trust its root."""


@app.command()
def init(
    applications: Annotated[list[Path], typer.Argument(help="The founders' applications.")],
    agreement: Annotated[Path, typer.Option(help="The regional agreement, TOML.")],
    out: Annotated[Path, typer.Option(help="Where to write the founding proposal.")],
    group: Annotated[list[str] | None, typer.Option(help="Groups of the founders.")] = None,
    threshold: Annotated[
        int, typer.Option(min=0, help="Signatures the region needs; 0 for a majority.")
    ] = 0,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Draw up the founding of a region, at the hub that `kentong hub init` made.

    Every founder signs it with `kentong directory sign`, pins its root with `kentong region trust`,
    and the hub puts it into force with `kentong directory publish`.

    Example: kentong region init SG.json MY.json VN.json --agreement agreement.toml --out found.json
    """
    place = Home(home())
    terms = read_file(agreement, MAX_FILE_BYTES)
    parse_policy(terms)
    founders = [parse_application(read_file(path, MAX_PROPOSAL_BYTES)) for path in applications]
    hub = read_file(home() / "hub" / "hub.toml", MAX_FILE_BYTES)
    secret = passphrase(passphrase_file)
    online = create_online_keys(place.hub_keys, secret, log2n=settings().scrypt_log2n)
    draft = Draft(None, now=clock.now())
    for each in founders:
        founder = RegionMember(kind=MemberKind.STATE, groups=tuple(sorted(group or ("asean",))))
        draft.admit(each, founder, holds_root=True)
    proposal = complete_founding(
        draft, hub=hub, agreement=terms, online=online, threshold=threshold or None
    )
    write_proposal(proposal, out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


@app.command()
def trust(
    file: Annotated[Path, typer.Argument(help="The founding proposal, signed by all.")],
) -> None:
    """Trust the root in a founding proposal from now on, on this machine.

    Compare the print with the other founders by another way than this file came.

    Example: kentong region trust found.json
    """
    root = founding_root(read_proposal(file))
    Home(home()).pin_root(root)
    printed = sha256(root).hex()
    screen.line(say("root-print", "Trusted. Its print, to compare: {print}", print=printed))
