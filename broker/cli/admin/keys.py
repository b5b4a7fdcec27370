"""`kentong keys`: rotates and destroys the keys of a member's node."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, kid_from, propose_own
from broker.cli.admin.secret import (
    PassphraseFile,
    TokenOption,
    answers,
    named_key,
    passphrase,
    pin,
    place_of_key,
)
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.place import GATEWAY_STORE, HubPlace
from broker.settings import home, settings
from keys.directory import layout
from keys.directory.edits import (
    kids_of_epoch,
    with_connection_keys,
    with_epochs,
    with_replaced_encryption_key,
    with_signing_key,
    with_witness_key,
)
from keys.epochs import epoch_of
from keys.errors import KeyFileError
from keys.home import Home
from keys.identity import (
    STORE_NAME,
    add_epoch_keys,
    add_signing_key,
    destroy_key,
    destroy_past_keys,
    identity_in,
    replace_connection_keys,
    replace_witness_key,
)
from keys.keystore import KeyStore
from keys.kid import kid_of
from keys.passphrase import read_passphrase
from keys.primitives.signing import Signing
from keys.token import TokenKey, make_token_key
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
    witness: Annotated[
        bool, typer.Option("--witness", help="A new key under which the node cosigns the log.")
    ] = False,
    connection: Annotated[
        bool, typer.Option("--connection", help="New keys with which the node reaches the hub.")
    ] = False,
    pkcs11: TokenOption = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the missing encryption keys of the coming months, and a signed change that lists them.

    With --stolen the month's key is revoked as compromised, and another one takes over; with
    --witness too, so is the old witness key. With --signing and --pkcs11 the next signing key is
    one of a hardware token. Restart the node once the change is published.

    Example: kentong keys rotate --out epochs.json
    """
    if pkcs11 and not signing:
        raise typer.BadParameter("--pkcs11 names the next signing key: add --signing")
    secret, now, token = passphrase(passphrase_file), clock.now(), named_key(pkcs11)
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
        public = add_signing_key(store, now=now, token=token)
        document = with_signing_key(document, public, not_before=now)
    if witness:
        replace_witness_key(store, now=now)
        document = with_witness_key(document, identity_in(store), now=now, stolen=stolen)
    if connection:
        replace_connection_keys(store, now=now)
        document = with_connection_keys(document, identity_in(store))
    if not (made or signing or witness or connection):
        raise BrokerError("nothing-to-do", "every key of the coming months is there")
    path = layout.member_files(identity.member)[0]
    propose_own(identity.member, {path: json_document(document)}, answers(secret), out)
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


@app.command("list")
def list_(passphrase_file: PassphraseFile = None, as_json: AsJSON = False) -> None:
    """List the node's private keys by identifier; never the keys.

    Example: kentong keys list
    """
    identity = identity_in(_store(passphrase(passphrase_file)))
    rows = [("sign", kid.hex(), "", _where(key)) for kid, key in identity.sign_keys.items()]
    rows += [("open", kid.hex(), epoch, "") for kid, epoch in sorted(identity.epochs.items())]
    if as_json:
        shown = [dict(zip(("use", "kid", "epoch", "token"), row, strict=True)) for row in rows]
        screen.as_json("keys", member=identity.member, keys=shown)
        return
    screen.table(("use", "kid", "epoch", "token"), rows)


@app.command()
def make(
    uri: Annotated[str, typer.Argument(help="pkcs11:token=...;object=...?module-path=...")],
    as_json: AsJSON = False,
) -> None:
    """Make a signing key in a hardware token. It never leaves it, and no backup holds it.

    The PIN is asked for, or comes from KENTONG_PKCS11_PIN_FILE; never from the command line. Then
    enrol the key: with --pkcs11, kentong member apply, keys rotate --signing, hub init, hub rekey.

    Example: kentong keys make 'pkcs11:token=kentong;object=sign-2027?module-path=/usr/lib/hsm.so'
    """
    key = make_token_key(place_of_key(uri), pin)
    kid = kid_of(key.public.raw).hex()
    if as_json:
        screen.as_json("key", kid=kid, public=key.public.raw.hex(), uri=str(key.where))
        return
    screen.line(say("key-made", "Key {kid} is in the token: {uri}", kid=kid, uri=key.where))


@app.command("passphrase")
def change_passphrase(
    new_passphrase_file: Annotated[
        Path, typer.Option("--new-passphrase-file", help="File whose first line is the new one.")
    ],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put every key store of this home under another passphrase; stop its processes first.

    Old copies still open under the old passphrase: destroy them, or rotate the keys. If it is
    interrupted, run it again. A store that neither passphrase opens is somebody else's, and stays.

    Example: kentong keys passphrase --new-passphrase-file /etc/kentong/new-passphrase
    """
    old, new = passphrase(passphrase_file), read_passphrase(new_passphrase_file)
    changed, other = 0, []
    for path in sorted(home().rglob("*.keystore")):
        if (store := _opened(path, old)) is not None:
            store.rewrap(new, log2n=settings().scrypt_log2n)
            changed += 1
        elif _opened(path, new) is None:  # else it was changed before an interruption
            other.append(path.name)
    screen.line(say("passphrase-changed", "{count} key stores are changed.", count=changed))
    for name in other:
        screen.line(say("passphrase-other", "{name} has another passphrase.", name=name))


def _opened(path: Path, secret: bytes) -> KeyStore | None:
    try:
        return KeyStore.open(path, secret)
    except KeyFileError as error:
        if error.code == "wrong-passphrase":
            return None
        raise


@app.command()
def check(passphrase_file: PassphraseFile = None) -> None:
    """Try each key of this home that lies in a hardware token: is it there, and does it sign?

    After a wrong PIN a service does not log in again, lest it lock the token: correct the PIN's
    file, run this, and start the service.

    Example: kentong keys check
    """
    place, secret = Home(home()), passphrase(passphrase_file)
    found: list[tuple[str, Signing]] = []
    if (place.node_keys / STORE_NAME).exists():
        keys_of = identity_in(_store(secret), pin).sign_keys
        found += [(f"sign {kid.hex()}", key) for kid, key in keys_of.items()]
    if (place.hub_keys / GATEWAY_STORE).exists():
        found.append(("gateway", HubPlace(home()).open_gateway(secret, pin).key))
    in_tokens = [(name, key) for name, key in found if isinstance(key, TokenKey)]
    for name, key in in_tokens:
        key.check(by_person=True)
        screen.line(say("key-signs", "{name}: the token signs.", name=name))
    if not in_tokens:
        screen.line(say("no-token-keys", "No key of this home lies in a token."))


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


def _where(key: Signing) -> str:
    return str(key.where) if isinstance(key, TokenKey) else ""


def _store(secret: bytes) -> KeyStore:
    return KeyStore.open(Home(home()).node_keys / STORE_NAME, secret)
