"""`kentong hub rekey`: new keys for a hub, and the proposal that puts them into force."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, write_proposal
from broker.cli.admin.secret import (
    PassphraseFile,
    TokenOption,
    named_key,
    passphrase,
)
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.broker_keys import (
    give_up_next_broker_keys,
    with_next_broker_keys,
)
from broker.hub.place import HubPlace
from broker.hub.rekeying import (
    give_up_next_authority,
    give_up_next_decision_key,
    shut_out_gateway_user,
    with_next_authority,
    with_next_decision_key,
)
from broker.settings import home
from keys.directory import layout
from keys.directory.holders import (
    create_next_online_keys,
    give_up_next_online_keys,
)
from keys.directory.toml_text import hub_toml
from schemas.directory import HubDocument


def rekey(
    out: Annotated[Path, typer.Option(help="Where to write the proposal.")],
    gateway: Annotated[
        bool, typer.Option("--gateway", help="The key under which the gateway decides.")
    ] = False,
    online: Annotated[
        bool, typer.Option("--online", help="The two keys that sign the directory's freshness.")
    ] = False,
    authority: Annotated[
        bool, typer.Option("--authority", help="The authority of the hub's TLS certificate.")
    ] = False,
    broker: Annotated[
        bool, typer.Option("--broker", help="The keys of the NATS server's operator and accounts.")
    ] = False,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="The gateway's old key and its user end at once.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Give up the keys of a change that was not published.")
    ] = False,
    pkcs11: TokenOption = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make new keys for this hub, and the proposal that puts them in the old ones' place.

    They are used once the members have signed, the proposal is published here, and the hub was
    restarted. Another --authority must be believed by every node first: docs/keys.md.

    Example: [bold]kentong hub rekey --gateway --out rekey-gateway.json[/bold]
    """
    if sum((gateway, online, authority, broker)) != 1:
        raise typer.BadParameter("name one of --gateway, --online, --authority and --broker")
    if pkcs11 and not gateway:
        raise typer.BadParameter("only the gateway's key may lie in a token")
    if out.exists():
        raise BrokerError("exists", f"{out} is there already; choose another name")
    place, secret, known = HubPlace(home()), passphrase(passphrase_file), base()
    draft = known.draft()
    if online:
        if again:
            give_up_next_online_keys(place.keys, secret)
        signers = create_next_online_keys(place.keys, secret)
        draft.set_online_keys(
            snapshot=signers.snapshot.public_key, timestamp=signers.timestamp.public_key
        )
    else:
        hub = known.content.hub
        if authority:
            document = _with_next_authority(place, secret, hub, again=again)
        elif broker:
            document = _with_next_broker_keys(place, secret, hub, again=again)
        else:
            if again:
                give_up_next_decision_key(place.keys, secret)
            document = _with_next_decision_key(place, secret, hub, pkcs11, stolen=stolen)
        draft.put_files(layout.TARGETS, {layout.HUB_FILE: hub_toml(document)})
    write_proposal(draft.proposal(), out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


def _with_next_decision_key(
    place: HubPlace, secret: bytes, hub: HubDocument, pkcs11: str, *, stolen: bool
) -> HubDocument:
    if stolen:  # before all that could refuse: whoever has the old one is inside
        shut_out_gateway_user(place, secret, now=clock.now())
        text = "Restart the hub NOW: until then it lets in whoever has the stolen key store."
        screen.line(say("restart-now", text), bold=True)
    token, now = named_key(pkcs11), clock.now()
    return with_next_decision_key(place.keys, secret, hub, now=now, stolen=stolen, token=token)


def _with_next_authority(
    place: HubPlace, secret: bytes, hub: HubDocument, *, again: bool
) -> HubDocument:
    if again:
        give_up_next_authority(place, secret)
    return with_next_authority(place, secret, hub, now=clock.now())


def _with_next_broker_keys(
    place: HubPlace, secret: bytes, hub: HubDocument, *, again: bool
) -> HubDocument:
    if again:
        give_up_next_broker_keys(place, secret)
    return with_next_broker_keys(place, place.config(), secret, hub)
