"""`kentong hub`: make, run and watch a hub; suspend a member's connection."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broker import clock, logs
from broker.cli import screen
from broker.cli.admin.changes import base, write_proposal
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import AsJSON, PassphraseFile, passphrase
from broker.cli.text import country, say
from broker.cli.words import clock as clock_text
from broker.errors import BrokerError
from broker.hub.children import gateway_command, kentong_command
from broker.hub.founding import init_hub, write_server
from broker.hub.memory import read_memory, write_memory
from broker.hub.place import SMALL, HubConfig, HubPlace, StoreSizes
from broker.hub.rekeying import give_up_next_decision_key, with_next_decision_key
from broker.hub.run import Hub, Ready
from broker.hub.suspensions import Suspension, read_suspensions, write_suspensions
from broker.ledger.place import LedgerPlace
from broker.settings import home, settings
from keys.directory import layout
from keys.directory.holders import (
    create_next_online_keys,
    give_up_next_online_keys,
    load_online_signers,
)
from keys.directory.source import PublishedDirectory
from keys.directory.toml_text import hub_toml
from keys.errors import KeysError

app = typer.Typer(no_args_is_help=True)
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
    gateways: Annotated[int, typer.Option(help="Gateway workers to run.", min=0, max=64)] = 1,
    small: Annotated[bool, typer.Option("--small", help="Small stores, to try it out.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make the hub's keys, TLS authority and settings.

    Prints where the file is that the members then sign as region/hub.toml.

    Example: [bold]kentong hub init --name hub.example.int --host 0.0.0.0[/bold]
    """
    place = HubPlace(home())
    config = HubConfig(
        host=host,
        port=port,
        names=tuple(name or ("localhost", "127.0.0.1")),
        nats_url=nats_url,
        gateways=gateways,
        store=SMALL if small else StoreSizes(),
    )
    document = init_hub(
        place.home,
        passphrase(passphrase_file),
        config,
        now=clock.now(),
        log2n=settings().scrypt_log2n,
    )
    if as_json:
        screen.as_json("hub-init", hub=str(place.hub_document), url=document.server_url)
        return
    screen.line(say("hub-made", "The hub is made in {folder}.", folder=place.folder), bold=True)
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
    secret = passphrase(passphrase_file)

    def tell(ready: Ready) -> None:
        if as_json:
            screen.as_json("hub-ready", url=ready.url, members=list(ready.members))
        else:
            text = "READY at {url} for {count} members."
            screen.line(say("hub-ready", text, url=ready.url, count=len(ready.members)))

    hub = Hub(
        place,
        config,
        place.open_hub(secret),
        load_online_signers(place.keys, secret),
        command=gateway_command,
        on_ready=tell,
        environment=_worker_environment(passphrase_file),
        beside=_beside(place.home),
    )
    run_until_stopped(hub.run())


@app.command()
def status(
    looked_into: Annotated[
        bool, typer.Option("--looked-into", help="You know why messages were lost: end the alarm.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Show whether the hub runs, for whom, and how old its directory is.

    Example: [bold]kentong hub status --json[/bold]
    """
    place, now = HubPlace(home()), clock.now()
    config = place.config()
    state = _state(place)
    running = place.is_running()
    cut = read_suspensions(place.suspensions_file).in_force(now)
    memory = read_memory(place.memory_file)
    if looked_into:
        memory = memory.looked_into()
        write_memory(place.memory_file, memory)
    went_back = memory.went_back
    members, fresh_until, problem = [], "", ""
    try:
        view = PublishedDirectory.at(place.home).view()
        members, fresh_until = list(view.members()), clock_text(view.fresh_until)
        view.check_fresh(now)
    except KeysError as error:
        problem = error.code
    if as_json:
        screen.as_json(
            "hub-status",
            ok=running and not problem and not went_back,
            running=running,
            pid=state.get("pid") if running else None,
            url=config.public_url,
            members=members,
            suspended=sorted(cut),
            went_back=list(went_back),
            directory_problem=problem,
            directory_fresh_until=fresh_until,
        )
    else:
        up = say("hub-up", "RUNNING") if running else say("hub-down", "NOT RUNNING")
        screen.pairs(
            [
                (say("hub-state", "Hub"), up),
                (say("hub-address", "Address"), config.public_url),
                (say("hub-members", "Members"), ", ".join(members)),
                (say("hub-directory", "Directory"), problem or fresh_until),
                (say("hub-cut", "Suspended"), ", ".join(sorted(cut))),
                (say("hub-went-back", "LOST MESSAGES"), ", ".join(went_back)),
            ]
        )
    if not running or problem or went_back:
        raise typer.Exit(1)


@app.command()
def rekey(
    out: Annotated[Path, typer.Option(help="Where to write the proposal.")],
    gateway: Annotated[
        bool, typer.Option("--gateway", help="The key under which the gateway decides.")
    ] = False,
    online: Annotated[
        bool, typer.Option("--online", help="The two keys that sign the directory's freshness.")
    ] = False,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="The gateway's old key ends at once.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Give up the keys of a change that was not published.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make new keys for this hub, and the proposal that puts them in the old ones' place.

    They are used once the members have signed, the proposal is published here, and the hub was
    restarted.

    Example: [bold]kentong hub rekey --gateway --out rekey-gateway.json[/bold]
    """
    if gateway == online:
        raise typer.BadParameter("name one of --gateway and --online")
    if out.exists():
        raise BrokerError("exists", f"{out} is there already; choose another name")
    place, secret, known, now = HubPlace(home()), passphrase(passphrase_file), base(), clock.now()
    draft = known.draft()
    if online:
        if again:
            give_up_next_online_keys(place.keys, secret)
        signers = create_next_online_keys(place.keys, secret)
        draft.set_online_keys(
            snapshot=signers.snapshot.public_key, timestamp=signers.timestamp.public_key
        )
    else:
        if again:
            give_up_next_decision_key(place.keys, secret)
        document = with_next_decision_key(
            place.keys, secret, known.content.hub, now=now, stolen=stolen
        )
        draft.put_files(layout.TARGETS, {layout.HUB_FILE: hub_toml(document)})
    write_proposal(draft.proposal(), out)
    screen.line(say("sign-next", "Next, each ministry: kentong directory sign {out}", out=out))


@app.command("server-config")
def server_config(passphrase_file: PassphraseFile = None) -> None:
    """Write the configuration of a NATS server of your own, to be used with --nats-url.

    Example: [bold]kentong hub server-config[/bold]
    """
    place, now = HubPlace(home()), clock.now()
    config, secrets = place.config(), place.open_hub(passphrase(passphrase_file))
    write_server(place, config, secrets, now=now)
    screen.line(str(place.server(config).configuration))


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


def _worker_environment(passphrase_file: Path | None) -> Mapping[str, str] | None:
    if passphrase_file is None:
        return None
    chosen = {"KENTONG_PASSPHRASE_FILE": str(passphrase_file.absolute())}
    return {**os.environ, **chosen}  # noqa: TID251 - handed on to the workers, not read


def _state(place: HubPlace) -> dict[str, Any]:
    try:
        found = json.loads(place.state_file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    app()
