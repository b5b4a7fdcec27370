"""What `kentong node migrate` and `kentong log migrate` share: a database and its version."""

import asyncio
from typing import Annotated

import typer
from sqlalchemy import MetaData, make_url

from broker.cli import screen
from broker.cli.exits import EXIT_REFUSED
from broker.cli.text import say
from broker.store.database import open_database, version_at
from broker.store.schema import schema_of

Check = Annotated[
    bool, typer.Option("--check", help="Only say the versions; ends with 1 if they differ.")
]
AsSQL = Annotated[bool, typer.Option("--sql", help="Only print the statements, to be read or run.")]


def migrate_state(url: str, ours: MetaData, check: bool, sql: bool, as_json: bool) -> None:
    """Do what the options say with a process's database.

    Raises:
        StoreError: As `open_database`.
    """
    before, newest = asyncio.run(version_at(url, ours)), schema_of(ours).newest
    if sql:
        from broker.store import migrating  # noqa: PLC0415 - Alembic is loaded only where it works

        typer.echo(migrating.statements(make_url(url), ours, before))
        return
    if not check:
        asyncio.run(_bring_up(url, ours))
    if as_json:
        screen.as_json("database", ok=before == newest or not check, before=before, newest=newest)
    else:
        said = "The database had version {before}; this is version {newest}."
        screen.line(say("database-version", said, before=before or "-", newest=newest))
    if check and before != newest:
        raise typer.Exit(EXIT_REFUSED)


async def _bring_up(url: str, ours: MetaData) -> None:
    async with open_database(url, ours, sole=True):
        pass
