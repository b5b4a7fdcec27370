"""`kentong hub server-config`: the files of servers that the hub does not start itself."""

from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.hub.founding import write_cluster, write_server
from broker.hub.place import HubPlace
from broker.hub.rekeying import forget_previous_authority
from broker.settings import home
from keys.directory.source import PublishedDirectory
from keys.home import Home


def server_config(
    only_new_authority: Annotated[
        bool,
        typer.Option(
            "--only-new-authority",
            help="Every server shows the new TLS authority: believe the one before no more.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write the configuration of a NATS server of your own, to be used with --nats-url.

    Of a cluster, it writes every server's anew, each with a new certificate. Carry them and
    restart one server after the other: docs/runbook.md, "Three servers".

    Example: [bold]kentong hub server-config[/bold]
    """
    place, now = HubPlace(home()), clock.now()
    config, secrets = place.config(), place.open_hub(passphrase(passphrase_file))
    members = _members(place)
    if only_new_authority:
        forget_previous_authority(place)
    if config.cluster:
        for folder in write_cluster(place, config, secrets, now=now, members=members):
            screen.line(str(folder / "nats.conf"))
        return
    write_server(place, config, secrets, now=now, members=members)
    screen.line(str(place.server(config).configuration))


def _members(place: HubPlace) -> tuple[str, ...]:
    """Return who is in the directory; nobody before one was published.

    The servers of a hub at work take over the account that stands in the newest file, and pass it
    on: without the members it would take everybody's services away.

    Raises:
        KeysError: There is a directory, and it does not verify.
    """
    if not Home(place.home).root_file.exists():
        return ()
    published = PublishedDirectory.at(place.home)
    return tuple(published.view().members()) if published.repository.exists() else ()
