"""`kentong hub backup`: keys, directory, streams, attached files and log of a hub in one file.

Taken while the hub stands still, which this command makes sure of: what members hand in meanwhile
waits at their nodes. Keys are in it as they lie on the disk, under their passphrase. What servers
keep that run elsewhere is not in it, and is said to be missing.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from pydantic import Field, ValidationError
from sqlalchemy import URL, make_url

from broker import clock
from broker.cli import progress, screen
from broker.cli.admin.backup_kms import key_service_files
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.hub.settings import HubConfig
from broker.ledger.place import LedgerPlace
from broker.ledger.state import metadata
from broker.settings import home
from broker.store.alone import alone
from broker.store.archive import write_archive
from broker.store.schema import schema_of
from broker.store.scratch import BACKUP, scratch_folder
from broker.store.sqlite import copied_sqlite, sqlite_engine
from keys.files import is_half
from keys.home import Home
from schemas.label import Strict

_ROOT: Final = "region/root.json"
_DATABASE: Final = "log/log.db"
_LEFT_OUT: Final = frozenset(  # of this moment, or copied by other means
    {
        "hub/metrics",
        "hub/state.json",
        "log/log.db",
        "log/log.db-wal",
        "log/log.db-shm",
        "log/log.db.damaged",
    }
)


class About(Strict):
    """What a backup says of itself."""

    format: Literal[1] = 1
    hub: Annotated[str, Field(max_length=1024)]
    version: Annotated[str, Field(max_length=64)]
    made: Annotated[str, Field(max_length=64)]


def backup(
    to: Annotated[Path, typer.Option("--to", help="New file, or a folder to put one in.")],
    as_json: AsJSON = False,
) -> None:
    """Write all that this hub and its log need to go on elsewhere to one new file.

    The hub and its log must be stopped, and cannot be started meanwhile. The file is for this user
    alone, and holds key stores under their passphrase: encrypt it, and keep it no longer than the
    keys live. Streams on servers of a cluster, or of others, are not in it, nor is a log's database
    in PostgreSQL: dump that in the same stop.

    Example: kentong hub backup --to /var/backups/kentong
    """
    place, now = HubPlace(home()), clock.now()
    config = place.config()
    elsewhere = database_elsewhere(LedgerPlace(home()))
    path = to / f"hub-{now:%Y%m%dT%H%M%SZ}.tar" if to.is_dir() else to
    about = About(hub=config.public_url, version=version("kentong"), made=now.isoformat())
    count = asyncio.run(_written(place, config, path, about, quiet=as_json))
    size = path.stat().st_size
    if as_json:
        screen.as_json(
            "hub-backup",
            file=str(path),
            files=count,
            bytes=size,
            streams=config.embedded,
            log_database=not elsewhere,
        )
        return
    text = "{file}: {count} files, {size}."
    screen.line(say("node-backed-up", text, file=path, count=count, size=progress.size(size)))
    if not config.embedded:
        text = "The streams are not in it: they are on servers that run elsewhere."
        screen.line(say("hub-streams-elsewhere", text))
    if elsewhere:
        text = "The log's database is not in it: dump it before hub and log start again."
        screen.line(say("hub-log-database-elsewhere", text))


def read_about(raw: bytes) -> About:
    """Return what a backup of a hub says of itself.

    Raises:
        BrokerError: `backup-damaged`.
    """
    try:
        return About.model_validate_json(raw)
    except ValidationError:
        raise BrokerError("backup-damaged", "the file is a backup of another form") from None


async def _written(
    place: HubPlace, config: HubConfig, path: Path, about: About, *, quiet: bool
) -> int:
    with scratch_folder(place.home, BACKUP) as scratch:
        async with _standing_still(place, config):
            files = [*_kept(place.home), *key_service_files(place.home)]
            database = _log_database(LedgerPlace(place.home))
            if database is not None and database.exists():  # else the log never ran
                copied_sqlite(database, scratch / "log.db")
                files.append((_DATABASE, scratch / "log.db"))
            with progress.shown(path.name, quiet=quiet, counted=True) as tell:
                return write_archive(path, about.model_dump_json().encode(), _told(files, tell))


@asynccontextmanager
async def _standing_still(place: HubPlace, config: HubConfig) -> AsyncIterator[None]:
    """Hold what hub, server and log hold while they run, until the block ends.

    Raises:
        BrokerError: `hub-runs`.
    """
    async with AsyncExitStack() as stack:
        if place.is_running():
            raise hub_runs("the hub runs")
        stack.enter_context(place.locked())
        server = place.server(config).folder / ".lock"
        if server.exists():
            stack.enter_context(_held(server))
        if (tiles := LedgerPlace(place.home).files).folder.exists():  # else the log never ran
            try:
                stack.enter_context(tiles.written())
            except BrokerError as error:
                raise hub_runs("its log runs") from error
        if (database := _log_database(LedgerPlace(place.home))) is not None:
            engine = sqlite_engine(f"sqlite+aiosqlite:///{database}", str(database))
            try:
                await stack.enter_async_context(alone(engine, schema_of(metadata).name))
            except BrokerError as error:
                raise hub_runs("its log runs") from error
        yield


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise hub_runs("its nats-server runs") from None
        yield


def hub_runs(what: str) -> BrokerError:
    """Return the refusal of what is for a hub that stands still."""
    return BrokerError("hub-runs", f"{what}: stop hub and log first", retry="later")


def database_elsewhere(place: LedgerPlace) -> bool:
    """Return whether there is a log whose database a server keeps, which no archive holds."""
    return place.config_file.exists() and _url(place).get_backend_name() != "sqlite"


def _log_database(place: LedgerPlace) -> Path | None:
    """Return the file of the log's database; None where there is none."""
    if not place.config_file.exists() or database_elsewhere(place):
        return None
    return Path(_url(place).database or "")


def _url(place: LedgerPlace) -> URL:
    return make_url(place.database_url)


def _kept(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything that is to be kept, by its name below the home folder."""
    yield _ROOT, Home(folder).root_file
    for top in ("hub", "log"):
        for inner, folders, names in os.walk(folder / top):
            folders[:] = sorted(
                name for name in folders if _name(folder, inner, name) not in _LEFT_OUT
            )
            for name in sorted(names):
                kept, where = _name(folder, inner, name), Path(inner, name)
                of_the_moment = kept in _LEFT_OUT or name.endswith(".lock") or is_half(name)
                if not of_the_moment and where.is_file() and not where.is_symlink():
                    yield kept, where


def _name(folder: Path, inner: str, name: str) -> str:
    return Path(inner, name).relative_to(folder).as_posix()


def _told(files: list[tuple[str, Path]], tell: progress.Tell) -> Iterator[tuple[str, Path]]:
    for number, file in enumerate(files, 1):
        yield file
        tell(number, len(files))
