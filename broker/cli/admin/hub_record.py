"""`kentong hub rekey-record`: another key for the record of decisions."""

from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.secret import AsJSON, PassphraseFile, passphrase
from broker.cli.text import say
from broker.hub.place import GATEWAY_STORE, HubPlace
from broker.hub.recordkeys import give_up, rotate
from broker.settings import home


def rekey_record(
    lost: Annotated[
        str, typer.Option(help="Name of a record key that is lost: give up what it sealed.")
    ] = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Seal decisions on the hub's disk under a new key from now on; nothing is restarted.

    Older keys stay as long as what they sealed. Back up the key store afterwards, and carry it to
    every machine where gateway workers run, this one first. With --lost nothing new is made: ids
    decided under that key stay decided, and nobody waits for it any more.

    Example: [bold]kentong hub rekey-record[/bold]
    """
    path = HubPlace(home()).keys / GATEWAY_STORE
    secret, now = passphrase(passphrase_file), clock.now()
    if lost:
        give_up(path, secret, lost, now=now)
        if as_json:
            screen.as_json("hub-rekey-record", lost=lost)
            return
        text = "What was sealed under {name} is given up; its ids stay decided."
        screen.line(say("record-key-lost", text, name=lost))
        return
    done = rotate(path, secret, now=now)
    if as_json:
        screen.as_json("hub-rekey-record", name=done.name, kept=done.kept, destroyed=done.destroyed)
        return
    text = "The record key is {name} now; older ones: {kept} kept, {gone} destroyed."
    screen.line(say("record-key-new", text, name=done.name, kept=done.kept, gone=done.destroyed))
