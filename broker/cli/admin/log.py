"""`kentong log`: make and run the hub's log of decisions."""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.log_migrate import migrate_log
from broker.cli.admin.log_restore import restore_from
from broker.cli.admin.log_resume import resume
from broker.cli.admin.log_status import status
from broker.cli.admin.log_web import serve
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.records import erase, openings
from broker.cli.admin.secret import (
    PassphraseFile,
    children_environment,
    passphrase,
    shared_passphrase,
)
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.hub.children import keep_running, kentong_command
from broker.hub.place import HubPlace
from broker.ledger.borrowing import Borrowing
from broker.ledger.cosigning import Cosigning
from broker.ledger.intake import GatewayKey, Witnessed
from broker.ledger.measures import LogMeasures
from broker.ledger.naming import serve_once_named
from broker.ledger.place import LedgerConfig, LedgerPlace
from broker.ledger.quorum import signer_there
from broker.ledger.reading import AuditReader
from broker.ledger.sequencer import Sequencer
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import serving
from broker.ledger.state import metadata
from broker.log.notekeys import SignatureType, VKey
from broker.log.policy import Policy
from broker.log.regional import regional_policy
from broker.logs import configure, get_logger
from broker.monitoring.report import LOG_SEQUENCER, SUFFIX, keep_reporting
from broker.settings import home, settings
from broker.store.database import check_url, open_database
from broker.store.wholeness import check_marked, check_names, keep_whole
from broker.transport.accounts import user_jwt
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.servertime import Timepiece
from keys.directory.source import LatestDirectory, PublishedDirectory
from keys.directory.toml_text import hub_toml
from keys.files import write_private
from keys.primitives.signing import SignKey
from schemas.directory import HubDocument, parse_toml_document

SEQUENCER_PUBLISHES = ("$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.LIST")
SEQUENCER_SERVES = ("hub.*.log.>", "hub.*.witness.*")
_log = get_logger()
app = typer.Typer(no_args_is_help=True)
app.command()(openings)
app.command()(serve)
app.command()(erase)
app.command()(resume)
app.command()(status)
app.command("restore")(restore_from)
app.command("migrate")(migrate_log)


@app.callback()
def log() -> None:
    """Make and run the log of decisions."""


@app.command()
def init(
    origin: Annotated[
        str, typer.Argument(help="Name of the log for ever, for example log.example.int/kentong.")
    ],
    database: Annotated[
        str,
        typer.Option(
            help="URL of its database, without a password; a file of its own if not given."
        ),
    ] = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make the log's keys and its empty tree, beside the hub; explicit, and once.

    Example: kentong log init log.example.int/kentong
    """
    if database:
        check_url(database, metadata)
    secret = passphrase(passphrase_file)
    document = found_log(home(), secret, LedgerConfig(origin=origin, database=database))
    place = LedgerPlace(home())
    if as_json:
        vkeys = place.vkeys_file.read_text("utf-8").split()
        screen.as_json(
            "log-init", origin=origin, vkeys=vkeys, file=str(place.vkeys_file), hub=str(document)
        )
        return
    screen.line(say("log-made", "The log {origin} is in {folder}.", origin=origin, folder=home()))
    screen.line(
        say(
            "log-made-next",
            "{hub} names it now: the members sign that file when the region is founded, or by"
            " kentong directory propose --hub. Auditors get {file}.",
            hub=document,
            file=place.vkeys_file,
        )
    )


def found_log(
    folder: Path, secret: bytes, config: LedgerConfig, *, log2n: int | None = None
) -> Path:
    """Make a log beside the hub in `folder`; return the hub's document, which names it now.

    Raises:
        BrokerError: There is no hub, or a log already.
        KeysError: A key store does not open, or a file cannot be written.
    """
    hub, place, user = HubPlace(folder), LedgerPlace(folder), SignKey.generate()
    document = parse_toml_document(HubDocument, hub.hub_document.read_bytes())
    jwt = user_jwt(
        hub.open_hub(secret).keys.account,
        user.public.raw,
        "sequencer",
        now=clock.now(),
        publish=SEQUENCER_PUBLISHES,
        serve=SEQUENCER_SERVES,
    )
    log = place.create(config, secret, user, jwt, log2n=log2n or settings().scrypt_log2n)
    named = document.model_copy(update={"log": log})
    write_private(hub.hub_document, hub_toml(named))
    return hub.hub_document


@app.command()
def sign(passphrase_file: PassphraseFile = None) -> None:
    """Run the signer, which alone holds the log's keys; `kentong log run` starts it by itself.

    Example: kentong log sign --passphrase-file /etc/kentong/passphrase
    """
    configure("log-signer")
    place = LedgerPlace(home())

    async def work(signer: Signer) -> None:
        async with serving(signer, place.socket) as ended:
            raise await ended

    with place.open_signer(passphrase(passphrase_file)) as signer:
        run_until_stopped(work(signer))


@app.command()
def run(
    signer: Annotated[
        bool, typer.Option(help="Start the signer too; it can run by itself: kentong log sign.")
    ] = True,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Run the log: sequencer and signer, two processes. Either may be killed at any time.

    Example: kentong log run --passphrase-file /etc/kentong/passphrase
    """
    configure(LOG_SEQUENCER)
    folder = home()
    place, hub = LedgerPlace(folder), HubPlace(folder)
    given = shared_passphrase(passphrase_file) if signer else passphrase(passphrase_file)
    secrets = place.open_sequencer(given)
    config = hub.config()

    def credentials() -> Credentials:
        return secrets.credentials(config.own_urls, hub.believed_pem())

    latest = LatestDirectory(PublishedDirectory.at(folder))

    def gateway_keys() -> tuple[GatewayKey, ...]:
        return tuple(map(GatewayKey.of, latest.view().hub.gateway_keys))

    def trust() -> Policy:
        return regional_policy(latest.view(), at=clock.now())

    async def sequence() -> None:
        await check_marked(place.database_url)  # first: what it signs now is lost with the file
        async with (
            Link(credentials(), credentials) as link,
            open_database(place.database_url, metadata, sole=True) as database,
        ):
            check_names(place.database_url, metadata)
            await link.wait_connected()
            timepiece = Timepiece(link)
            await timepiece.ask()
            timepiece.check()
            committer = place.committer(database)
            committer.now = timepiece.time  # ahead, it would be the last growth for as long
            cosigning = Cosigning(place.files, trust, round_s=place.config().round_s)
            await signer_there(committer.signer, cosigning.quorum)
            if not await committer.state.is_founded():
                await committer.found()
            cosigning.borrowing = Borrowing(cosigning.standings, committer, trust)
            screen.noted(say("log-ready", "The log runs."))
            pen = Witnessed(secrets.leaves)
            sequencer = Sequencer(
                link,
                committer,
                gateway_keys,
                pen,
                cosigning.wait_agreed,
                place.cadence(),
                lambda: latest.view().version,
                cosigning.standings.refute,
            )
            reader = AuditReader(link, gateway_keys, pen)
            measures = LogMeasures(place.files, committer, reader, cosigning)
            report = hub.reports / f"{LOG_SEQUENCER}{SUFFIX}"
            beside = [
                timepiece.run(),
                measures.keep(),
                keep_whole(place.database_url, metadata),
                keep_reporting(measures.registry, report),
                serve_once_named(cosigning, link, lambda: latest.view().hub.log is not None),
            ]
            await _grow(sequencer, cosigning, beside)

    async def work() -> None:
        with place.files.written():  # else no signer is started either
            await work_alone()

    async def work_alone() -> None:
        async with asyncio.TaskGroup() as group:
            if signer:
                command = kentong_command(folder, "log", "sign")
                environment = children_environment(passphrase_file)
                group.create_task(keep_running(command, worker=0, environment=environment))
            group.create_task(sequence())

    run_until_stopped(work())


@app.command()
def keys() -> None:
    """Print the keys that sign leaves, one vkey a line: the gateways' and the sequencer's.

    An auditor takes them from the members, who signed region/hub.toml, and not from the hub alone.

    Example: kentong log keys > gateways.vkeys
    """
    folder = home()
    place = LedgerPlace(folder)
    origin = place.config().origin
    for number, entry in enumerate(PublishedDirectory.at(folder).view().hub.gateway_keys, start=1):
        key = VKey(f"{origin}/gateway-{number}", SignatureType.ED25519, entry.key)
        typer.echo(key.to_text())  # whole, however long
    typer.echo(place.sequencer_file.read_text("ascii").strip())


async def _grow(
    sequencer: Sequencer, cosigning: Cosigning, beside: Sequence[Coroutine[None, None, None]]
) -> None:
    """Grow the log until told to end; then put its newest checkpoint to the witnesses."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(cosigning.watch_quorum())
            for work in beside:
                group.create_task(work)
            group.create_task(sequencer.run())
    except asyncio.CancelledError:  # the sequencer has shown its newest checkpoint
        await cosigning.last_round()
        raise
