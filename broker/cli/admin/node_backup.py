"""`kentong node backup` and `restore`: all that a node needs to go on elsewhere, in one file.

The database is taken as of one moment by SQLite's own means while the node runs. Keys are in it as
they lie on the disk, under their passphrase; where a key management service gives that, what it
needs is there too. The copy of the log is left out: the hub has it, and a restored node reads it
again.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from pydantic import Field, ValidationError
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.cli import progress, screen
from broker.cli.admin.backup_kms import key_service_files, put_key_service_back, say_key_service
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.node.logstate import mark_left_out, mark_restored
from broker.node.pairs import begin_anew
from broker.settings import home
from broker.store.archive import read_archive, write_archive
from broker.store.scratch import BACKUP, RESTORE, scratch_folder
from broker.store.sqlite import copied_sqlite
from keys.files import is_half, make_private_folder
from keys.home import Home
from schemas.label import MemberCode, Strict

_DATABASE: Final = "node/node.db"
_ROOT: Final = "region/root.json"
_LEFT_OUT: Final = frozenset(
    {"node.db", "node.db-wal", "node.db-shm", "node.db.damaged", "api.sock", "log"}
)


class About(Strict):
    """What a backup says of itself."""

    format: Literal[1] = 1
    member: MemberCode
    version: Annotated[str, Field(max_length=64)]
    made: Annotated[str, Field(max_length=64)]


@dataclass(frozen=True)
class PutBack:
    """A node that is there again.

    Attributes:
        incarnation: Under which it numbers what it sends from now on.
        kms: Settings of a key management service that a person is to read; None without one.
    """

    about: About
    incarnation: int
    kms: Path | None


def backup(
    to: Annotated[Path, typer.Option("--to", help="New file, or a folder to put one in.")],
    as_json: AsJSON = False,
) -> None:
    """Write all that this node needs to go on elsewhere to one new file; it may run meanwhile.

    The file is for this user alone, and holds key stores under their passphrase: encrypt it, and
    keep it no longer than the keys live. What is erased later is still in it.

    Example: kentong node backup --to /var/backups/kentong
    """
    path, count = write_backup(NodePlace(home()), to, quiet=as_json)
    size = path.stat().st_size
    if as_json:
        screen.as_json("node-backup", file=str(path), files=count, bytes=size)
        return
    text = "{file}: {count} files, {size}."
    screen.line(say("node-backed-up", text, file=path, count=count, size=progress.size(size)))


def write_backup(place: NodePlace, to: Path, *, quiet: bool) -> tuple[Path, int]:
    """Back a node up; return where, and how many files are in it.

    Args:
        place: The node's, which may run.
        to: New file, or a folder to put one in.
        quiet: Whether to show no progress.

    Raises:
        BrokerError: `backup-elsewhere`, `exists`, or it cannot be read or written.
        KeysError: What opens its keys cannot be read.
    """
    config, now = place.config(), clock.now()
    database = make_url(place.database_url(config))
    if database.get_backend_name() != "sqlite":
        raise BrokerError("backup-elsewhere", "this node's database is not SQLite: use pg_dump too")
    path = to / f"node-{config.member}-{now:%Y%m%dT%H%M%SZ}.tar" if to.is_dir() else to
    about = About(member=config.member, version=version("kentong"), made=now.isoformat())
    with scratch_folder(place.folder, BACKUP) as scratch:
        copy = scratch / "node.db"
        copied_sqlite(Path(database.database or ""), copy)
        files = [
            (_DATABASE, copy),
            (_ROOT, Home(place.home).root_file),
            *key_service_files(place.home),
            *((f"node/{name}", where) for name, where in _kept(place.folder)),
        ]
        with progress.shown(path.name, quiet=quiet, counted=True) as tell:
            count = write_archive(path, about.model_dump_json().encode(), _told(files, tell))
    return path, count


def restore(
    file: Annotated[Path, typer.Argument(help="What `kentong node backup` wrote.")],
    as_json: AsJSON = False,
) -> None:
    """Put a node back from a backup, into a home folder that holds none, as a new incarnation.

    Numbers that were given out after the backup are never given out again; peers hear of it, and
    hand in again what came here since. What was erased since is back: erase it again. Its database
    is in its folder, wherever it was. How a key management service gives the passphrase is written
    to restored.kms.toml: it names a program, so read it before you rename it to kms.toml.

    Example: kentong node restore /var/backups/kentong/node-SG-20261126T020000Z.tar
    """
    found = put_back(file, home())
    about = found.about
    if as_json:
        screen.as_json(
            "node-restore",
            member=about.member,
            made=about.made,
            incarnation=found.incarnation,
            kms="" if found.kms is None else str(found.kms),
        )
        return
    text = "The node of {member} is as of {made}; this is its incarnation {number}."
    made = {"member": about.member, "made": about.made, "number": found.incarnation}
    screen.line(say("node-put-back", text, **made))
    say_key_service(found.kms)
    screen.line(say("node-next", "Next: kentong node run"))


def put_back(file: Path, into: Path) -> PutBack:
    """Put a node back from a backup; until that is done there is no node.

    Args:
        file: Not trusted.
        into: Home folder that holds no node.

    Raises:
        BrokerError: `exists`, or the backup is damaged or cannot be put there.
        KeysError: Its root or what opens its keys cannot be used.
    """
    place = NodePlace(into)
    if place.folder.exists():
        raise BrokerError("exists", f"{place.folder} is there already: move it away first")
    make_private_folder(into)
    with scratch_folder(into, RESTORE) as scratch:
        put = scratch / "home"
        about = read_about(read_archive(file, put))
        root = Home(put).pinned_root()
        config = NodePlace(put).config()
        if config.member != about.member:
            raise BrokerError("backup-damaged", f"{file} speaks of two members")
        if config.database_url:  # of another file there, in which the backup's rows are not
            inside = config.model_copy(update={"database_url": ""})
            NodePlace(put).write(inside, NodePlace(put).authority_pem())
        incarnation = asyncio.run(_begun_anew(NodePlace(put)))
        Home(into).pin_root(root)
        service = put_key_service_back(put, into)
        (put / "node").rename(place.folder)  # last: with it, the node is there
    return PutBack(about, incarnation, service)


def read_about(raw: bytes) -> About:
    """Return what a backup says of itself.

    Raises:
        BrokerError: `backup-damaged`.
    """
    try:
        return About.model_validate_json(raw)
    except ValidationError:
        raise BrokerError("backup-damaged", "the file is a backup of another form") from None


async def _begun_anew(place: NodePlace) -> int:
    async def change(connection: AsyncConnection) -> int:
        now = clock.now()
        await mark_restored(connection, int(now.timestamp()))
        await mark_left_out(connection)
        return await begin_anew(connection, now=now)

    async with place.database(sole=True) as database:
        number = await database.change(change)
        await database.empty_journal()
        return number


def _kept(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything else in the node's folder, by its name there."""
    for top in sorted(folder.iterdir()):
        if top.name in _LEFT_OUT or top.name.startswith(BACKUP):
            continue
        for where in sorted(top.rglob("*")) if top.is_dir() else (top,):
            if where.is_file() and not where.is_symlink() and not is_half(where.name):
                yield where.relative_to(folder).as_posix(), where


def _told(files: list[tuple[str, Path]], tell: progress.Tell) -> Iterator[tuple[str, Path]]:
    for number, file in enumerate(files, 1):
        yield file
        tell(number, len(files))
