"""`kentong hub backup` and `restore`: keys, directory, streams, files and log of a hub in one file.

Taken while the hub stands still, which this command makes sure of: what members hand in meanwhile
waits at their nodes. Keys are in it as they lie on the disk, under their passphrase. A hub put back
is as of then: its log asks the witnesses before it signs, and takes from the members' nodes what it
lacks; nodes hand in again what was not confirmed to them.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from pydantic import Field, ValidationError
from sqlalchemy import make_url

from broker import clock
from broker.cli import progress, screen
from broker.cli.admin.backup_kms import key_service_files, put_key_service_back, say_key_service
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.hub.settings import HubConfig
from broker.ledger.place import LedgerPlace
from broker.ledger.state import metadata
from broker.settings import home
from broker.store.alone import alone
from broker.store.archive import read_archive, write_archive
from broker.store.schema import schema_of
from broker.store.sqlite import copied_sqlite, sqlite_engine
from keys.directory.bundle import MAX_BUNDLE_BYTES, parse_bundle
from keys.directory.source import PublishedDirectory
from keys.directory.toml_text import toml
from keys.files import make_private_folder, write_private
from keys.home import Home
from schemas.label import Strict

_ROOT: Final = "region/root.json"
_DATABASE: Final = "log/log.db"
_LEFT_OUT: Final = frozenset(  # of this moment, or copied by other means
    {"hub/metrics", "hub/state.json", "log/log.db", "log/log.db-wal", "log/log.db-shm"}
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
    keys live. Streams on servers of a cluster, or of others, are not in it.

    Example: kentong hub backup --to /var/backups/kentong
    """
    place, now = HubPlace(home()), clock.now()
    config = place.config()
    path = to / f"hub-{now:%Y%m%dT%H%M%SZ}.tar" if to.is_dir() else to
    about = About(hub=config.public_url, version=version("kentong"), made=now.isoformat())
    count = asyncio.run(_written(place, config, path, about, quiet=as_json))
    size = path.stat().st_size
    if as_json:
        screen.as_json(
            "hub-backup", file=str(path), files=count, bytes=size, streams=config.embedded
        )
        return
    text = "{file}: {count} files, {size}."
    screen.line(say("node-backed-up", text, file=path, count=count, size=progress.size(size)))
    if not config.embedded:
        text = "The streams are not in it: they are on servers that run elsewhere."
        screen.line(say("hub-streams-elsewhere", text))


def restore(
    file: Annotated[Path, typer.Argument(help="What `kentong hub backup` wrote.")],
    directory: Annotated[
        Path | None,
        typer.Option(help="A member's copy of a newer directory: node/directory/directory.json."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Put a hub and its log back from a backup, into a home folder that holds none.

    If the directory was published anew since the backup, take it from any member's node, by
    --directory: it is verified here as there. Else nodes refuse the older one. How a key management
    service gives the passphrase is written to restored.kms.toml: it names a program, so read it
    before you rename it to kms.toml.

    Example: kentong hub restore /var/backups/kentong/hub-20261126T020000Z.tar
    """
    place, ledger = HubPlace(home()), LedgerPlace(home())
    for folder in (place.folder, ledger.folder):
        if folder.exists():
            raise BrokerError("exists", f"{folder} is there already: move it away first")
    make_private_folder(home())
    put = home() / f".restore-{os.getpid()}"
    try:
        about = read_about(read_archive(file, put))
        if HubPlace(put).config().public_url != about.hub:
            raise BrokerError("backup-damaged", f"{file} speaks of two hubs")
        root, newer = Home(put).pinned_root(), directory is not None and _taken(put, directory)
        snapshot = PublishedDirectory.at(put).view().version.snapshot
        Home(home()).pin_root(root)
        has_log = LedgerPlace(put).config_file.exists()
        if has_log:
            _with_own_database(LedgerPlace(put))
            (put / "log").rename(ledger.folder)
        service = put_key_service_back(put, home())
        (put / "hub").rename(place.folder)  # last: with it, the hub is there
    finally:
        shutil.rmtree(put, ignore_errors=True)
    if as_json:
        screen.as_json(
            "hub-restore",
            hub=about.hub,
            made=about.made,
            log=has_log,
            snapshot=snapshot,
            newer_directory=newer,
            kms="" if service is None else str(service),
        )
        return
    text = "The hub at {url} is as of {made}, its directory's snapshot is number {number}."
    screen.line(say("hub-put-back", text, url=about.hub, made=about.made, number=snapshot))
    say_key_service(service)
    screen.line(say("hub-next", "Next: kentong hub run"))


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
    with tempfile.TemporaryDirectory(dir=place.home, prefix=".backup-") as scratch:
        async with _standing_still(place, config):
            files = [*_kept(place.home), *key_service_files(place.home)]
            database = _log_database(place.home)
            if database is not None and database.exists():  # else the log never ran
                copied_sqlite(database, Path(scratch) / "log.db")
                files.append((_DATABASE, Path(scratch) / "log.db"))
            with progress.shown(path.name, quiet=quiet, counted=True) as tell:
                return write_archive(path, about.model_dump_json().encode(), _told(files, tell))


@asynccontextmanager
async def _standing_still(place: HubPlace, config: HubConfig) -> AsyncIterator[None]:
    """Hold what hub, server and log hold while they run, until the block ends.

    Raises:
        BrokerError: `hub-runs`; `backup-elsewhere`: the log's database is not a file here.
    """
    async with AsyncExitStack() as stack:
        if place.is_running():
            raise _runs("the hub runs")
        stack.enter_context(place.locked())
        server = place.server(config).folder / ".lock"
        if server.exists():
            stack.enter_context(_held(server))
        if (database := _log_database(place.home)) is not None:
            engine = sqlite_engine(f"sqlite+aiosqlite:///{database}", str(database))
            try:
                await stack.enter_async_context(alone(engine, schema_of(metadata).name))
            except BrokerError as error:
                raise _runs("its log runs") from error
        yield


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _runs("its nats-server runs") from None
        yield


def _runs(what: str) -> BrokerError:
    return BrokerError("hub-runs", f"{what}: stop hub and log first", retry="later")


def _log_database(folder: Path) -> Path | None:
    """Return the file of the log's database; None where there is no log.

    Raises:
        BrokerError: `backup-elsewhere`.
    """
    place = LedgerPlace(folder)
    if not place.config_file.exists():
        return None
    url = make_url(place.database_url)
    if url.get_backend_name() != "sqlite":
        text = "the log's database is not SQLite: use pg_dump, and archive the folders"
        raise BrokerError("backup-elsewhere", text)
    return Path(url.database or "")


def _with_own_database(place: LedgerPlace) -> None:
    """Let the log use the database that was put back with it, wherever it was before."""
    config = place.config()
    if config.database:
        inside = config.model_copy(update={"database": ""})
        write_private(place.config_file, toml(inside.model_dump(mode="json")))


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
                of_the_moment = kept in _LEFT_OUT or name.endswith(".lock")
                if not of_the_moment and where.is_file() and not where.is_symlink():
                    yield kept, where


def _name(folder: Path, inner: str, name: str) -> str:
    return Path(inner, name).relative_to(folder).as_posix()


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


def _told(files: list[tuple[str, Path]], tell: progress.Tell) -> Iterator[tuple[str, Path]]:
    for number, file in enumerate(files, 1):
        yield file
        tell(number, len(files))
