"""`kentong profile`: what a desk need not type."""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.client import Profile, ProfileBasis, ProfileContact, Profiles
from broker.errors import BrokerError
from schemas.vocabulary import TLP, Purpose

app = typer.Typer(no_args_is_help=True)


@app.callback()
def profile() -> None:
    """Keep what you need not type: node, token, key, agency, contact, legal basis."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="a-z, 0-9, - and _.")],
    url: Annotated[str, typer.Option(help="unix:///path/api.sock or https://host:port")],
    token_file: Annotated[Path, typer.Option(help="File that holds the token.")],
    officer_key: Annotated[Path | None, typer.Option(help="Your key store.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(help="Opens your key store.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Vouches for an https node.")] = None,
    member: Annotated[str, typer.Option(help="Code of your member.")] = "",
    agency: Annotated[str, typer.Option(help="In every label.")] = "",
    contact: Annotated[str, typer.Option(help="A function, for example Duty officer.")] = "",
    phone: Annotated[list[str] | None, typer.Option(help="Of the contact; repeat.")] = None,
    legal_basis: Annotated[list[str] | None, typer.Option(help="Instrument; repeat.")] = None,
    purpose: Annotated[list[Purpose] | None, typer.Option(help="Default purpose; repeat.")] = None,
    tlp: Annotated[TLP | None, typer.Option(help="Default TLP.", show_default=False)] = None,
    language: Annotated[str, typer.Option(help="Of your texts, for example th.")] = "",
    retention_days: Annotated[int, typer.Option(min=0, help="Kept so long; 0: default.")] = 0,
) -> None:
    """Add or replace a profile; the first becomes the default.

    Example: kentong profile add night --url unix:///run/kentong/api.sock --token-file token
    """
    try:
        made = Profile(
            url=url,
            token_file=str(token_file),
            officer_key=None if officer_key is None else str(officer_key),
            passphrase_file=None if passphrase_file is None else str(passphrase_file),
            ca_file=None if ca_file is None else str(ca_file),
            member=member or None,
            agency=agency or None,
            contact=ProfileContact(function=contact, phones=tuple(phone or ()))
            if contact
            else None,
            legal_basis=tuple(ProfileBasis(instrument=each) for each in legal_basis or ()),
            purposes=tuple(purpose or ()),
            tlp=tlp,
            language=language or None,
            retention_days=retention_days or None,
        )
        Profiles.load().add(name, made)
    except ValueError as error:
        raise BrokerError("bad-profile", str(error).split("\n")[0]) from None
    screen.line(say("profile-kept", "Profile {name} is kept.", name=name))


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the profiles of this desk.

    Example: kentong profile list
    """
    profiles = Profiles.load()
    rows = [
        (name, "*" if name == profiles.default else "", profiles.get(name).url)
        for name in profiles.names
    ]
    if as_json:
        listed = [{"name": n, "default": bool(d), "url": u} for n, d, u in rows]
        screen.as_json("profiles", profiles=listed)
        return
    head = (say("head-name", "name"), say("head-default", "default"), say("head-node", "node"))
    screen.table(head, rows)


@app.command()
def use(name: Annotated[str, typer.Argument(help="Name of a profile.")]) -> None:
    """Make a profile the default.

    Example: kentong profile use night
    """
    Profiles.load().use(name)
    screen.line(say("profile-used", "Profile {name} is the default now.", name=name))


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Name of a profile.")]) -> None:
    """Forget a profile.

    Example: kentong profile remove night
    """
    Profiles.load().remove(name)
    screen.line(say("profile-removed", "Profile {name} is forgotten.", name=name))
