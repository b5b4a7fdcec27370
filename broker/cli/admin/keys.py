"""`kentong keys`: rotates and destroys the keys of a member's node."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, kid_from, propose_own
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.settings import home
from keys.directory import layout
from keys.directory.edits import (
    kids_of_epoch,
    with_epochs,
    with_replaced_encryption_key,
    with_signing_key,
)
from keys.epochs import epoch_of
from keys.home import Home
from keys.identity import (
    STORE_NAME,
    add_epoch_keys,
    add_signing_key,
    destroy_key,
    destroy_past_keys,
    identity_in,
)
from keys.keystore import KeyStore
from schemas.directory import json_document

app = typer.Typer(no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Rotate, list and destroy the keys of this member's node."""


@app.command()
def rotate(
    out: Annotated[Path, typer.Option(help="Where to write the signed change.")],
    signing: Annotated[
        bool, typer.Option("--signing", help="A new signing key as well; the old one overlaps.")
    ] = False,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="Replace this month's encryption key at once.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the missing encryption keys of the coming months, and a signed change that lists them.

    With --stolen the month's key is revoked as compromised, and another one takes over.

    Example: kentong keys rotate --out epochs.json
    """
    secret, now = passphrase(passphrase_file), clock.now()
    store = _store(secret)
    known, member = base().content, identity_in(store).member
    if member not in known.documents:
        raise BrokerError("unknown-member", f"the directory has no member {member}")
    document = known.documents[member].document
    made = add_epoch_keys(store, now=now, replace_current=stolen)
    identity = identity_in(store)
    if stolen:
        for kid in kids_of_epoch(document, epoch_of(now)):
            document = with_replaced_encryption_key(document, identity, kid, now=now)
    document = with_epochs(document, identity, now=now)
    if signing:
        document = with_signing_key(document, add_signing_key(store, now=now), not_before=now)
    elif not made:
        raise BrokerError("nothing-to-do", "every key of the coming months is there")
    path = layout.member_files(identity.member)[0]
    propose_own(identity.member, {path: json_document(document)}, secret, out)
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


@app.command("list")
def list_(passphrase_file: PassphraseFile = None, as_json: AsJSON = False) -> None:
    """List the node's private keys by identifier; never the keys.

    Example: kentong keys list
    """
    identity = identity_in(_store(passphrase(passphrase_file)))
    rows = [("sign", kid.hex(), "") for kid in identity.sign_keys]
    rows += [("open", kid.hex(), epoch) for kid, epoch in sorted(identity.epochs.items())]
    if as_json:
        shown = [{"use": use, "kid": kid, "epoch": epoch} for use, kid, epoch in rows]
        screen.as_json("keys", member=identity.member, keys=shown)
        return
    screen.table(("use", "kid", "epoch"), rows)


@app.command()
def destroy(
    kid: Annotated[str, typer.Argument(help="Identifier; without it all that are past.")] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Destroy private keys: those of epochs 90 days past, or one at once. Nothing brings it back.

    Example: kentong keys destroy
    """
    store = _store(passphrase(passphrase_file))
    if kid:
        destroy_key(store, kid_from(kid))
        screen.line(say("key-destroyed", "Key {kid} is destroyed.", kid=kid))
        return
    past = destroy_past_keys(store, now=clock.now())
    screen.line(say("epochs-destroyed", "Destroyed: {epochs}.", epochs=", ".join(past) or "none"))


def _store(secret: bytes) -> KeyStore:
    return KeyStore.open(Home(home()).node_keys / STORE_NAME, secret)
