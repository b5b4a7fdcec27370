"""`kentong log openings | erase`: the records of decisions given to auditors, and taken away."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.erased import note_erased
from broker.hub.place import HubPlace
from broker.ledger.erasure import Erased, Eraser
from broker.ledger.intake import Witnessed
from broker.ledger.openings import sealed_openings
from broker.ledger.place import LedgerPlace
from broker.ledger.state import LedgerState, metadata
from broker.logs import configure
from broker.settings import home
from broker.store.database import open_database
from broker.transport.link import Link
from keys.files import make_private_folder

CONNECT_S = 20.0


def openings(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day, in UTC; else all on record."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write the openings of decisions for auditors, sealed to their key; the hub cannot open them.

    Example: kentong log openings --out sealed --since 2026-11-01
    """
    configure("log-openings")
    if out.exists():
        raise BrokerError("exists", f"{out} exists already")
    since_s = 0 if since is None else int(since.replace(tzinfo=UTC).timestamp())
    hub, place = HubPlace(home()), LedgerPlace(home())
    credentials = place.open_sequencer(passphrase(passphrase_file)).credentials(
        hub.config().own_urls, hub.believed_pem()
    )
    make_private_folder(out)
    for path in sorted(place.erasures.glob("*.erasure")):
        _write(out / path.name, path.read_bytes())

    async def work() -> int:
        found = 0
        async with Link(credentials) as link:
            await link.wait_connected(CONNECT_S)
            async for opening in sealed_openings(link, since_s=since_s):
                _write(out / f"{opening.name}.sealed", opening.to_bytes())
                found += 1
        return found

    count = asyncio.run(work())
    if as_json:
        screen.as_json("log-openings", folder=str(out), count=count)
        return
    screen.line(
        say(
            "openings-written",
            "{count} sealed openings are in {out}. Auditors open them with: kentong audit open",
            count=count,
            out=out,
        )
    )


def erase(
    member: Annotated[str, typer.Argument(help="Who sent it.")],
    ident: Annotated[str, typer.Argument(metavar="ID", help="Id of the envelope.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the id again.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Erase what the hub keeps of one envelope's decision; the log says that it happened.

    The log must run. Killed halfway, the same command goes on. Rounded time and number of leaves
    stay, and that this id was decided. Copies that members took are theirs to erase.

    Example: kentong log erase SG 0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b
    """
    configure("log-erase")
    envelope = _id_of(ident)
    if not yes and typer.prompt(say("ask-id", "To erase for ever, type the id")) != ident:
        raise BrokerError("not-confirmed", "another id was typed; nothing was erased")
    hub, place = HubPlace(home()), LedgerPlace(home())
    secret = passphrase(passphrase_file)
    credentials = hub.open_hub(secret).hub_credentials(hub, hub.config())
    pen = Witnessed(place.open_sequencer(secret).leaves)

    async def work() -> Erased:
        async with (
            Link(credentials) as link,
            open_database(place.database_url, metadata) as database,
        ):
            await link.wait_connected(CONNECT_S)
            state = LedgerState(database)
            noting = partial(note_erased, hub.erased_file)
            eraser = Eraser(link, place.files, state, pen, place.erasures, noting=noting)
            return await eraser.erase(member, envelope, now=clock.now())

    done = asyncio.run(work())
    if as_json:
        screen.as_json(
            "log-erase", leaves=done.leaves, messages=done.messages, remains=list(done.remains)
        )
        return
    screen.line(say("erased", "{count} messages were overwritten.", count=done.messages))
    if done.remains:
        screen.line(
            say(
                "erase-remains",
                "Streams that hold other mail may keep bytes of messages taken earlier until they"
                " are empty: {streams}.",
                streams=", ".join(done.remains),
            )
        )


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BrokerError("bad-id", f"{text} is no id") from None


def _write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be written") from error
