"""`kentong hub restore`: a hub and its log put back from a backup, or its log alone.

What is put back is as of then: the log asks the witnesses before it signs, and takes from the
members' nodes what it lacks; nodes hand in again what was not confirmed to them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli import screen
from broker.cli.admin.backup_kms import put_key_service_back, say_key_service
from broker.cli.admin.hub_backup import database_elsewhere, hub_runs, read_about
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.settings import home
from broker.store.archive import read_archive
from broker.store.scratch import RESTORE, scratch_folder
from keys.directory.bundle import MAX_BUNDLE_BYTES, parse_bundle
from keys.directory.source import PublishedDirectory
from keys.directory.toml_text import toml
from keys.files import make_private_folder, write_private
from keys.home import Home

_LOG: Final = "log"


def restore(
    file: Annotated[Path, typer.Argument(help="What `kentong hub backup` wrote.")],
    directory: Annotated[
        Path | None,
        typer.Option(help="A member's copy of a newer directory: node/directory/directory.json."),
    ] = None,
    log_only: Annotated[
        bool, typer.Option("--log-only", help="The log alone, beside the hub that is here.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Put a hub and its log back from a backup, into a home folder that holds none.

    If the directory was published anew since the backup, take it from any member's node, by
    --directory: it is verified here as there. Else nodes refuse the older one. How a key management
    service gives the passphrase is written to restored.kms.toml: it names a program, so read it
    before you rename it to kms.toml.

    If only the log is lost, move what is left of its folder away and say --log-only, while hub and
    log stand still. What the log signed since, it takes from the members' nodes when it starts.

    Example: kentong hub restore /var/backups/kentong/hub-20261126T020000Z.tar
    """
    if log_only:
        if directory is not None:
            raise typer.BadParameter("the directory is the hub's: leave out --directory")
        _log_put_back(file, as_json=as_json)
        return
    place, ledger = HubPlace(home()), LedgerPlace(home())
    _check_gone(place.folder, ledger.folder)
    make_private_folder(home())
    with _put_aside() as put:
        about = read_about(read_archive(file, put))
        if HubPlace(put).config().public_url != about.hub:
            raise BrokerError("backup-damaged", f"{file} speaks of two hubs")
        root, newer = Home(put).pinned_root(), directory is not None and _taken(put, directory)
        snapshot = PublishedDirectory.at(put).view().version.snapshot
        Home(home()).pin_root(root)
        has_log = LedgerPlace(put).config_file.exists()
        has_database = not has_log or _moved(LedgerPlace(put), ledger)
        service = put_key_service_back(put, home())
        (put / "hub").rename(place.folder)  # last: with it, the hub is there
    if as_json:
        screen.as_json(
            "hub-restore",
            hub=about.hub,
            made=about.made,
            log=has_log,
            log_database=has_database,
            snapshot=snapshot,
            newer_directory=newer,
            kms="" if service is None else str(service),
        )
        return
    text = "The hub at {url} is as of {made}, its directory's snapshot is number {number}."
    screen.line(say("hub-put-back", text, url=about.hub, made=about.made, number=snapshot))
    say_key_service(service)
    _say_next(has_database=has_database)


def _log_put_back(file: Path, *, as_json: bool) -> None:
    """Put the log of this hub back from a backup; what else is in it is left there.

    Raises:
        BrokerError: `exists`; `hub-runs`; `no-log`: the backup holds none; `backup-of-another`.
    """
    place, ledger = HubPlace(home()), LedgerPlace(home())
    _check_gone(ledger.folder)
    if place.is_running():
        raise hub_runs("the hub runs")
    with place.locked(), _put_aside() as put:
        about = read_about(read_archive(file, put, below=_LOG))
        if about.hub != place.config().public_url:
            raise BrokerError("backup-of-another", f"{file} is of the hub at {about.hub}")
        if not LedgerPlace(put).config_file.exists():
            raise BrokerError("no-log", f"{file} holds no log")
        has_database = _moved(LedgerPlace(put), ledger)
    if as_json:
        screen.as_json("hub-restore-log", hub=about.hub, made=about.made, log_database=has_database)
        return
    text = "The log of the hub at {url} is as of {made}."
    screen.line(say("hub-log-put-back", text, url=about.hub, made=about.made))
    _say_next(has_database=has_database)


def _check_gone(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            raise BrokerError("exists", f"{folder} is there already: move it away first")


@contextmanager
def _put_aside() -> Iterator[Path]:
    """Give a new folder's name on the disk of the home; it is thrown away in the end."""
    with scratch_folder(home(), RESTORE) as scratch:
        yield scratch / "home"


def _moved(put: LedgerPlace, ledger: LedgerPlace) -> bool:
    """Move the log into its place; return whether its database came with it.

    One that came is beside the log, wherever it was before.

    Raises:
        LedgerError: `bad-config`.
    """
    config, elsewhere = put.config(), database_elsewhere(put)
    if config.database and not elsewhere:
        inside = config.model_copy(update={"database": ""})
        write_private(put.config_file, toml(inside.model_dump(mode="json")))
    put.folder.rename(ledger.folder)
    return not elsewhere


def _say_next(*, has_database: bool) -> None:
    if not has_database:
        text = "The log's database was not in it: put back its dump of the same stop first."
        screen.line(say("hub-log-database-next", text))
    screen.line(say("hub-next", "Next: kentong hub run"))


def _taken(put: Path, directory: Path) -> bool:
    """Take a member's copy of the directory in place of an older one; return whether it is newer.

    Raises:
        BrokerError: `bad-file`.
        DirectoryError: It does not verify, or is no successor of the one in the backup.
    """
    try:
        with directory.open("rb") as file:
            raw = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BrokerError("bad-file", f"{directory} cannot be read") from error
    return PublishedDirectory.at(put).repository.take(parse_bundle(raw))
