"""`kentong hub`: make, run and watch a hub; suspend a member's connection."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from broker import clock, logs
from broker.api.monitoring import exposition_of, monitoring_app
from broker.api.serving import PlainPort, serving
from broker.cli import screen
from broker.cli.admin.hub_backup import backup
from broker.cli.admin.hub_mend import mend
from broker.cli.admin.hub_record import rekey_record
from broker.cli.admin.hub_rekey import rekey
from broker.cli.admin.hub_restore import restore
from broker.cli.admin.hub_servers import server_config
from broker.cli.admin.hub_status import status
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import (
    AsJSON,
    PassphraseFile,
    TokenOption,
    children_environment,
    named_key,
    passphrase,
    shared_passphrase,
)
from broker.cli.text import country, say
from broker.cli.words import clock as clock_text
from broker.errors import BrokerError
from broker.hub.broker_keys import (
    take_up_broker_keys,
)
from broker.hub.children import gateway_command, kentong_command
from broker.hub.clusterserver import ClusterServer
from broker.hub.founding import init_hub, write_cluster
from broker.hub.measures import HubMeasures
from broker.hub.place import HubPlace
from broker.hub.rekeying import (
    take_up_authority,
)
from broker.hub.run import Hub, Ready
from broker.hub.settings import SMALL, HubConfig, StoreSizes
from broker.hub.suspensions import Suspension, read_suspensions, write_suspensions
from broker.ledger.place import LedgerPlace
from broker.settings import home, settings
from keys.directory.holders import (
    load_online_signers,
)
from keys.directory.source import PublishedDirectory
from keys.files import make_private_folder

app = typer.Typer(no_args_is_help=True)
app.command()(status)
app.command()(rekey)
app.command("rekey-record")(rekey_record)
app.command()(backup)
app.command()(mend)
app.command()(restore)
app.command("server-config")(server_config)
Member = Annotated[str, typer.Argument(help="Code of the member, for example TH.")]


@app.command()
def init(
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name or address under which members reach the hub; may be repeated."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 4222,
    nats_url: Annotated[
        str, typer.Option(help="Use this NATS server instead of starting one.")
    ] = "",
    cluster: Annotated[
        list[str] | None,
        typer.Option(help="NAME=HOST:PORT:CLUSTERPORT of one server; three times, or five."),
    ] = None,
    disk_gib: Annotated[
        int,
        typer.Option(help="GiB for streams on each server's disk; 0: what is free here.", min=0),
    ] = 0,
    gateways: Annotated[int, typer.Option(help="Gateway workers to run.", min=0, max=64)] = 1,
    metrics_port: Annotated[
        int, typer.Option(help="Port of this machine for monitoring.", min=0, max=65535)
    ] = 0,
    small: Annotated[bool, typer.Option("--small", help="Small stores, to try it out.")] = False,
    pkcs11: TokenOption = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make the hub's keys, TLS authority and settings.

    Prints where the file is that the members then sign as region/hub.toml. With --cluster it also
    writes a folder for each server, to be carried to its machine and started in that folder:
    nats-server -c nats.conf. See docs/runbook.md, "Three servers".
    With --pkcs11 the gateway decides under a key of a hardware token.

    Example: [bold]kentong hub init --name hub.example.int --host 0.0.0.0[/bold]
    """
    place = HubPlace(home())
    config = _config(
        host=host,
        port=port,
        names=tuple(name or ("localhost", "127.0.0.1")),
        nats_url=nats_url,
        cluster=tuple(_server(text) for text in cluster or ()),
        server_disk_mib=disk_gib * 1024,
        gateways=gateways,
        metrics_port=metrics_port,
        store=SMALL if small else StoreSizes(),
    )
    secret = passphrase(passphrase_file)
    log2n = settings().scrypt_log2n
    token = named_key(pkcs11)
    document = init_hub(place.home, secret, config, now=clock.now(), log2n=log2n, token=token)
    folders = write_cluster(place, config, place.open_hub(secret), now=clock.now())
    if as_json:
        servers = [str(folder) for folder in folders]
        screen.as_json(
            "hub-init", hub=str(place.hub_document), url=document.server_url, servers=servers
        )
        return
    screen.line(say("hub-made", "The hub is made in {folder}.", folder=place.folder), bold=True)
    for folder in folders:
        text = "Carry {folder} to its machine, and in it there start nats-server -c nats.conf."
        screen.line(say("hub-server-made", text, folder=folder))
    screen.line(
        say(
            "hub-made-next",
            "The members now sign {file} as part of the directory; then start it with:"
            " kentong hub run",
            file=place.hub_document,
        )
    )


@app.command()
def run(
    nats_url: Annotated[
        str, typer.Option(help="Use this NATS server instead of starting one.")
    ] = "",
    gateways: Annotated[
        int | None, typer.Option(help="Gateway workers to run.", min=0, max=64)
    ] = None,
    log: Annotated[
        bool, typer.Option(help="Run the log too; it can run by itself: kentong log run.")
    ] = True,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Run the hub until it is told to stop.

    Starts nats-server, the gateway workers and the log if there is one here, and starts again
    what dies.
    Writes JSON lines to standard error; says on standard output when it is ready.

    Example: [bold]kentong hub run --gateways 2[/bold]
    """
    logs.configure("hub")
    place = HubPlace(home())
    config = place.config()
    changes: dict[str, Any] = {"nats_url": nats_url or config.nats_url}
    if gateways is not None:
        changes["gateways"] = gateways
    config = HubConfig.model_validate({**config.model_dump(), **changes})
    beside = _beside(place.home) if log else ()
    # What is typed at a terminal is here alone; workers and log ask for the same.
    alone = not (config.gateways or beside)
    secret = passphrase(passphrase_file) if alone else shared_passphrase(passphrase_file)

    def tell(ready: Ready) -> None:
        if as_json:
            screen.as_json("hub-ready", url=ready.url, members=list(ready.members))
        else:
            text = "READY at {url} for {count} members."
            screen.noted(say("hub-ready", text, url=ready.url, count=len(ready.members)))

    if place.next_authority_file.exists():  # published, perhaps, and interrupted then
        take_up_authority(place, secret, PublishedDirectory.at(place.home).view().hub)
    secrets = place.open_hub(secret)
    if config.embedded:
        document = PublishedDirectory.at(place.home).view().hub
        if document.account_key != secrets.keys.account.public.raw and take_up_broker_keys(
            place, config, secret, document, now=clock.now()
        ):
            secrets = place.open_hub(secret)
    hub = Hub(
        place,
        config,
        secrets,
        place.open_records(secret),
        load_online_signers(place.keys, secret),
        command=gateway_command,
        on_ready=tell,
        environment=children_environment(passphrase_file),
        beside=beside,
        tiles=LedgerPlace(place.home).files,
    )
    run_until_stopped(_watched(hub))


@app.command()
def suspend(
    member: Member,
    reason: Annotated[str, typer.Option(help="Why; every member is shown it.", prompt=True)],
    as_json: AsJSON = False,
) -> None:
    """Cut a member's connection at once, for 72 hours at most.

    Touches no key: only the members can revoke one. All members are told, with the reason.

    Example: [bold]kentong hub suspend TH --reason "node stolen, see call of 09:10Z"[/bold]
    """
    place, now = HubPlace(home()), clock.now()
    PublishedDirectory.at(place.home).view().member(member)
    try:
        Suspension(member=member, reason=reason, at=now, until=now)
    except ValueError:
        raise BrokerError("bad-reason", "a reason is one line of at most 200 characters") from None
    found = read_suspensions(place.suspensions_file).suspend(member, reason, now=now)
    write_suspensions(place.suspensions_file, found)
    _tell_suspension(member, found.entries[-1], as_json=as_json)


@app.command()
def resume(member: Member, as_json: AsJSON = False) -> None:
    """End a suspension before its 72 hours are over.

    Example: [bold]kentong hub resume TH[/bold]
    """
    place = HubPlace(home())
    found = read_suspensions(place.suspensions_file).lift(member, now=clock.now())
    write_suspensions(place.suspensions_file, found)
    if as_json:
        screen.as_json("hub-resume", member=member)
        return
    text = "{country} may connect again."
    screen.line(say("hub-resumed", text, country=country(member)), bold=True)


def _config(**given: Any) -> HubConfig:  # noqa: ANN401 - the fields of the settings
    try:
        return HubConfig(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BrokerError("bad-config", f"{where}: {first['msg']}".lstrip(": ")) from None


def _server(text: str) -> ClusterServer:
    """Return what NAME=HOST:PORT:CLUSTERPORT says."""
    name, _, place = text.partition("=")
    parts = place.rsplit(":", 2)
    try:
        host, port, cluster_port = parts
        return ClusterServer(name=name, host=host, port=int(port), cluster_port=int(cluster_port))
    except ValueError:
        raise typer.BadParameter(f"{text}: a server is NAME=HOST:PORT:CLUSTERPORT") from None


async def _watched(hub: Hub) -> None:
    """Run the hub, and answer monitoring beside it."""
    place, config = hub.place, hub.config
    if place.is_running():
        raise BrokerError("running-already", f"the hub in {place.folder} runs")
    measures = HubMeasures(place, config, hub.pulse, has_log=bool(_beside(place.home)))
    make_private_folder(place.reports)
    measures.reports.forget()

    async def checks() -> Mapping[str, bool]:
        return hub.pulse.checks(clock.now())

    async def exposition() -> bytes:
        return await asyncio.to_thread(exposition_of, lambda: measures.families(clock.now()))

    app = monitoring_app(checks, exposition)
    port = PlainPort(config.metrics_host, config.metrics_port) if config.metrics_port else None
    async with serving(app, unix_path=place.metrics_socket, plain=port):
        await hub.run()


def _tell_suspension(member: str, entry: Suspension, *, as_json: bool) -> None:
    if as_json:
        screen.as_json("hub-suspend", member=member, until=entry.until.isoformat())
        return
    text = "{country} is cut off until {until}, unless two members revoke it or you resume it."
    said = say("hub-suspended", text, country=country(member), until=clock_text(entry.until))
    screen.line(said, bold=True)


def _beside(folder: Path) -> tuple[tuple[str, ...], ...]:
    """Return the commands that run beside the hub: its log, once that was founded."""
    has_log = LedgerPlace(folder).config_file.exists()
    return (kentong_command(folder, "log", "run"),) if has_log else ()


if __name__ == "__main__":
    app()
