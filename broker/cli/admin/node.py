"""`kentong node`: makes, runs and asks a member's node."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.cli import screen
from broker.cli.admin.node_place import NodeConfig, NodePlace, run_node
from broker.cli.admin.node_records import erase, settle
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import AsJSON, PassphraseFile, passphrase
from broker.cli.text import say
from broker.cli.words import alarm_line
from broker.errors import BrokerError
from broker.logs import configure
from broker.node.alarms import all_alarms, expiry_alarms
from broker.node.epochkeys import key_alarms
from broker.node.logstate import mark_restored
from broker.node.notices import suspension_alarms
from broker.node.pairs import begin_anew
from broker.settings import home, settings
from keys.directory.client import DirectoryClient
from keys.files import make_private_folder
from keys.home import Home
from keys.identity import STORE_NAME, create_identity
from schemas.desk import Alarm

app = typer.Typer(no_args_is_help=True)
app.command()(erase)
app.command()(settle)
_MAX_CA_BYTES = 64 * 1024


@app.callback()
def node() -> None:
    """Run this member's node: it seals and opens, and keeps outbox and inbox."""


@app.command()
def init(
    member: Annotated[str, typer.Option(help="Code of the member, for example SG.")],
    hub: Annotated[str, typer.Option(help="Where the hub is: tls://host:port.")],
    ca: Annotated[Path, typer.Option(help="Certificate of the hub's authority, PEM.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make a node in this home folder: its keys, if there are none yet, and its settings.

    Example: kentong node init --member SG --hub tls://hub.example.org:4222 --ca hub-ca.pem
    """
    place = NodePlace(home())
    if place.config_file.exists():
        raise BrokerError("exists", f"{place.folder} holds a node already")
    try:
        authority = ca.read_bytes()[:_MAX_CA_BYTES]
    except OSError as error:
        raise BrokerError("unreadable", f"{ca} cannot be read") from error
    config = NodeConfig(member=member, hub_url=hub)
    make_private_folder(place.folder)
    keys = Home(home()).node_keys
    if not (keys / STORE_NAME).exists():
        create_identity(
            keys,
            passphrase(passphrase_file),
            member,
            now=clock.now(),
            log2n=settings().scrypt_log2n,
        )
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
        screen.line(say("node-ready", "Ready: {socket}", socket=socket))
        if port:
            screen.line(say("node-ready-tls", "Ready: TLS port {port}", port=port))

    run_until_stopped(run_node(place, passphrase(passphrase_file), on_ready=ready))


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
        await mark_restored(connection, int(clock.now().timestamp()))
        return await begin_anew(connection)

    async with place.database() as database:
        return await database.change(change)


@app.command()
def status(as_json: AsJSON = False) -> None:
    """Show whether the node's API answers, and its alarms; `kentong status` shows a desk more.

    What of the directory must be signed again soon is an alarm too. Ends with 4 if it does not run.

    Example: kentong node status
    """
    place = NodePlace(home())
    config = place.config()
    alive = place.socket.is_socket()
    found = (*_expiring(config.member), *asyncio.run(_alarms(place)))
    if as_json:
        shown = [alarm.model_dump(mode="json") for alarm in found]
        screen.as_json(
            "node-status", ok=alive, member=config.member, socket=str(place.socket), alarms=shown
        )
    else:
        text = "offers its API" if alive else "does not run"
        screen.line(f"{config.member}: {say('node-alive' if alive else 'node-dead', text)}")
        for alarm in found:
            screen.line(alarm_line(alarm))
    if not alive:
        raise typer.Exit(4)


def _expiring(member: str) -> tuple[Alarm, ...]:
    """Return what must be signed or published soon, as the copy of the directory here has it."""
    place, now = Home(home()), clock.now()
    copy = DirectoryClient(place.node_directory, pinned_root=place.pinned_root()).load()
    if copy is None:
        return ()
    return (*expiry_alarms(copy.view, now=now), *key_alarms(copy.view, member, (), now=now))


async def _alarms(place: NodePlace) -> tuple[Alarm, ...]:
    async with place.database() as database, database.read() as connection:
        return (*await suspension_alarms(connection), *await all_alarms(connection))
