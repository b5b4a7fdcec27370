"""`kentong node`: makes, runs and asks a member's node."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.cli import screen
from broker.cli.admin.node_backup import backup, restore
from broker.cli.admin.node_migrate import migrate_node
from broker.cli.admin.node_place import NodeConfig, NodePlace, run_node
from broker.cli.admin.node_records import erase, rewrap, settle
from broker.cli.admin.node_status import status
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import AsJSON, PassphraseFile, TokenOption, named_key, passphrase, pin
from broker.cli.text import say
from broker.errors import BrokerError
from broker.logs import configure
from broker.node.logstate import mark_restored
from broker.node.pairs import begin_anew
from broker.settings import home, settings
from broker.store.database import check_url
from broker.store.tables import metadata
from keys.files import make_private_folder
from keys.home import Home
from keys.identity import STORE_NAME, create_identity

app = typer.Typer(no_args_is_help=True)
app.command()(status)
app.command()(backup)
app.command()(restore)
app.command()(erase)
app.command()(rewrap)
app.command()(settle)
app.command("migrate")(migrate_node)
_MAX_CA_BYTES = 64 * 1024


@app.callback()
def node() -> None:
    """Run this member's node: it seals and opens, and keeps outbox and inbox."""


@app.command()
def init(
    member: Annotated[str, typer.Option(help="Code of the member, for example SG.")],
    ca: Annotated[Path, typer.Option(help="Certificate of the hub's authority, PEM.")],
    database: Annotated[
        str,
        typer.Option(
            help="URL of its database, without a password; a file of its own if not given."
        ),
    ] = "",
    hub: Annotated[
        str, typer.Option(help="Where the hub is: tls://host:port. None: mail is carried by file.")
    ] = "",
    pkcs11: TokenOption = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make a node in this home folder: its keys, if there are none yet, and its settings.

    With --database postgresql://USER@HOST/NAME?sslrootcert=FILE its state is kept in PostgreSQL.

    Example: kentong node init --member SG --hub tls://hub.example.org:4222 --ca hub-ca.pem
    """
    place = NodePlace(home())
    if place.config_file.exists():
        raise BrokerError("exists", f"{place.folder} holds a node already")
    try:
        authority = ca.read_bytes()[:_MAX_CA_BYTES]
    except OSError as error:
        raise BrokerError("unreadable", f"{ca} cannot be read") from error
    if database:
        check_url(database, metadata)
    config = NodeConfig(member=member, hub_url=hub, database_url=database)
    make_private_folder(place.folder)
    keys = Home(home()).node_keys
    if not (keys / STORE_NAME).exists():
        create_identity(
            keys,
            passphrase(passphrase_file),
            member,
            now=clock.now(),
            log2n=settings().scrypt_log2n,
            signing=named_key(pkcs11),
        )
    elif pkcs11:
        raise BrokerError("exists", "the node has its keys already: kentong keys rotate --pkcs11")
    place.write(config, authority)
    if as_json:
        screen.as_json("node", member=member, folder=str(place.folder))
        return
    made = say("node-made", "The node of {member} is in {folder}.", member=member, folder=home())
    screen.line(made)
    screen.line(say("node-next", "Next: kentong node run"))


@app.command()
def run(passphrase_file: PassphraseFile = None) -> None:
    """Run the node until it is told to end. It may be killed at any time and loses nothing.

    Example: kentong node run --passphrase-file /etc/kentong/passphrase
    """
    configure("node")
    place = NodePlace(home())

    def ready(socket: Path, port: int) -> None:
        screen.noted(say("node-ready", "Ready: {socket}", socket=socket))
        if port:
            screen.noted(say("node-ready-tls", "Ready: TLS port {port}", port=port))

    run_until_stopped(run_node(place, passphrase(passphrase_file), pin, on_ready=ready))


@app.command()
def restored() -> None:
    """Say that this node was restored from a backup: its numbers begin anew.

    Numbers given out after the backup was made must never be given out again. Run this once,
    before the restored node runs. Peers then hear of it, and hand in again what came here after the
    backup was made; that takes about a quarter of an hour. As a witness of the log, the node signs
    nothing until the other witnesses showed what it signed since: ten minutes, if nobody sends.

    Example: kentong node restored
    """
    number = asyncio.run(_restored(NodePlace(home())))
    screen.line(say("node-restored", "This is incarnation {number} of the node.", number=number))


async def _restored(place: NodePlace) -> int:
    async def change(connection: AsyncConnection) -> int:
        now = clock.now()
        await mark_restored(connection, int(now.timestamp()))
        return await begin_anew(connection, now=now)

    async with place.database() as database:
        return await database.change(change)
