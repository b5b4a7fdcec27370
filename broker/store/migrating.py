"""The steps from one version of the tables to the next. The only module that knows Alembic."""

import io
import os
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, MetaData

from broker.store.schema import Schema, schema_of

_FOLDER: Final = Path(__file__).parent / "migrations"  # holds `env.py`


def versions(schema: Schema) -> tuple[str, ...]:
    """Return every version that this code knows, oldest first."""
    script = ScriptDirectory.from_config(_config(schema))
    return tuple(each.revision for each in script.walk_revisions())[::-1]


def upgrade(connection: Connection, tables: MetaData) -> None:
    """Bring an older database to the newest version, within the connection's transaction."""
    config = _config(schema_of(tables))
    config.attributes.update(connection=connection, tables=tables)
    command.upgrade(config, "head")


def statements(url: URL, tables: MetaData, before: str) -> str:
    """Return the SQL that brings a database from version `before`, empty for none, to ours."""
    written = io.StringIO()
    config = _config(schema_of(tables), written)
    config.attributes.update(dialect=url.get_backend_name(), tables=tables)
    command.upgrade(config, f"{before or 'base'}:head", sql=True)
    return written.getvalue()


def differences(connection: Connection, tables: MetaData) -> list[str]:
    """Return in what a database's tables are not those of the code; other tables do not count."""
    options = {
        "include_name": lambda name, kind, _: kind != "table" or name in tables.tables,
        "version_table": schema_of(tables).version_table.name,
    }
    context = MigrationContext.configure(connection, opts=options)
    return [_told(each) for each in compare_metadata(context, tables)]


def _told(difference: object) -> str:
    """Return a difference in a few words: what kind, and the names that Alembic gives with it."""
    while isinstance(difference, list):
        difference = difference[0]
    if not isinstance(difference, tuple):
        return str(difference)
    kind, *parts = difference
    named = (getattr(part, "name", part) for part in parts)
    return " ".join((str(kind), *(name for name in named if isinstance(name, str))))


def _config(schema: Schema, written: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=written)
    folders = os.pathsep.join(str(folder) for folder in schema.revisions)
    for option, value in (
        ("script_location", str(_FOLDER)),
        ("version_locations", folders),
        ("path_separator", "os"),
    ):
        config.set_main_option(option, value.replace("%", "%%"))
    return config
