"""A database comes to the tables of the code: from nothing, from an older version, or not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)

from broker.ledger import state
from broker.store import migrating, tables
from broker.store.database import StoreError, open_database
from broker.store.schema import SCHEMA, bring_up, schema_of
from tests.support.databases import Databases
from tests.support.postgres import Postgres
from tests.support.revisions import FOLDER

OURS = {"node": tables.metadata, "log": state.metadata}
Doing = Callable[[Connection], object]


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest) -> MetaData:
    found: MetaData = OURS[request.param]
    return found


class Bare:
    """Empty databases of one kind, by name, to be worked on without `open_database`."""

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        self.folder = folder
        self.postgres = postgres
        self.urls: dict[str, str] = {}

    def url(self, name: str = "bare") -> str:
        if name not in self.urls:
            if self.postgres is None:
                self.urls[name] = f"sqlite+aiosqlite:///{self.folder / name}.db"
            else:
                own = f"{name}_{len(self.folder.name)}_{abs(hash(self.folder))}"
                self.urls[name] = self.postgres.database(own)
        return self.urls[name]

    def do(self, work: Doing, name: str = "bare") -> object:
        driver = "sqlite" if self.postgres is None else "postgresql+psycopg"
        engine = create_engine(make_url(self.url(name)).set(drivername=driver))
        try:
            with engine.begin() as connection:
                return work(connection)
        finally:
            engine.dispose()


@pytest.fixture
def bare(databases: Databases, tmp_path: Path) -> Bare:
    return Bare(tmp_path, databases.postgres)


def step_by_step(metadata: MetaData) -> Doing:
    return lambda connection: migrating.upgrade(connection, metadata)


def form(connection: Connection) -> object:
    """All that a database says of its tables, in an order of its own."""
    found = inspect(connection)
    return {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in columns),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(tuple(u["column_names"]) for u in found.get_unique_constraints(name)),
            sorted((i["name"], tuple(i["column_names"])) for i in found.get_indexes(name)),
        )
        for name in found.get_table_names()
        for columns in [found.get_columns(name)]
    }


def test_the_steps_from_nothing_end_in_the_tables_of_the_code(bare: Bare, ours: MetaData) -> None:
    bare.do(step_by_step(ours), "steps")
    assert bare.do(lambda c: migrating.differences(c, ours), "steps") == []
    bare.do(lambda c: bring_up(c, ours), "code")
    assert bare.do(form, "steps") == bare.do(form, "code")


def test_the_newest_version_is_the_one_that_the_code_names(ours: MetaData) -> None:
    schema = schema_of(ours)
    assert migrating.versions(schema)[-1] == schema.newest


def test_what_is_written_as_sql_makes_the_same(bare: Bare, ours: MetaData) -> None:
    script = migrating.statements(make_url(bare.url("script")), ours, "")

    def run(connection: Connection) -> None:
        for statement in script.split(";"):
            words = statement.strip()
            if words and words not in {"BEGIN", "COMMIT"}:
                connection.execute(text(words))

    bare.do(run, "script")
    bare.do(step_by_step(ours), "steps")
    assert bare.do(form, "script") == bare.do(form, "steps")


def next_version(before: MetaData) -> MetaData:
    """Tables of a version to come: a column more, a table more, an index more."""
    schema = replace(schema_of(before), newest="test2")
    schema = replace(schema, revisions=(*schema.revisions, FOLDER))
    after = MetaData(info={SCHEMA: schema})
    for table in before.tables.values():
        table.to_metadata(after)
    after.tables["meta"].append_column(
        Column("since", String(20), nullable=False, server_default="unknown", index=True)
    )
    Table("novelties", after, Column("id", Integer, primary_key=True))
    return after


async def test_an_older_database_is_brought_up_and_loses_no_row(bare: Bare) -> None:
    url = bare.url()
    async with open_database(url, tables.metadata) as database:
        await database.change(
            lambda c: c.execute(insert(tables.meta).values(name="kept", value="é\n✓"))
        )
        filled = {"sealed": bytes(range(256)) * 64, "expires_ms": 2**62}
        await database.change(
            lambda c: c.execute(
                insert(tables.drafts), [{"id": str(n), **filled} for n in range(500)]
            )
        )
    after = next_version(tables.metadata)
    async with open_database(url, after) as database, database.read() as connection:
        (row,) = (await connection.execute(select(after.tables["meta"]))).all()
        assert tuple(row) == ("kept", "é\n✓", "unknown")
        drafts = (await connection.execute(select(after.tables["drafts"]))).all()
        assert len(drafts) == 500
        assert {(row.sealed, row.expires_ms) for row in drafts} == {tuple(filled.values())}
    assert bare.do(lambda c: migrating.differences(c, after)) == []


async def test_a_newer_database_is_refused_and_left_alone(bare: Bare) -> None:
    url, after = bare.url(), next_version(tables.metadata)
    async with open_database(url, after):
        pass
    before = bare.do(form)
    with pytest.raises(StoreError, match="does not know") as caught:
        async with open_database(url, tables.metadata):
            pass
    assert caught.value.code == "database-newer"
    assert bare.do(form) == before


async def test_nothing_is_brought_up_beside_a_process_at_work(bare: Bare) -> None:
    url, after = bare.url(), next_version(tables.metadata)
    async with open_database(url, tables.metadata, sole=True):
        with pytest.raises(StoreError) as caught:
            async with open_database(url, after):
                pass
        assert caught.value.code == "database-in-use"
        async with open_database(url, tables.metadata):  # of its own version all may come
            pass
    async with open_database(url, after):
        pass


async def test_a_step_that_fails_leaves_the_database_as_it_was(bare: Bare) -> None:
    url, after = bare.url(), next_version(tables.metadata)
    async with open_database(url, tables.metadata):
        pass
    bare.do(lambda c: c.execute(text("CREATE TABLE novelties (other INTEGER)")))
    before = bare.do(form)
    with pytest.raises(StoreError):
        async with open_database(url, after):
            pass
    assert bare.do(form) == before
    async with open_database(url, tables.metadata):
        pass


async def test_a_database_without_a_version_is_taken_if_its_tables_are_ours(bare: Bare) -> None:
    url = bare.url()
    bare.do(tables.metadata.create_all)
    bare.do(lambda c: c.execute(insert(tables.meta).values(name="kept", value="v")))
    async with open_database(url, tables.metadata) as database, database.read() as connection:
        assert len((await connection.execute(select(tables.meta))).all()) == 1
    schema = schema_of(tables.metadata)
    version = select(schema.version_table.c.version_num)
    assert bare.do(lambda c: c.execute(version).scalar_one()) == schema.newest


async def test_a_database_without_a_version_is_refused_if_its_tables_are_others(
    bare: Bare,
) -> None:
    bare.do(lambda c: c.execute(text("CREATE TABLE meta (name VARCHAR(64) PRIMARY KEY)")))
    before = bare.do(form)
    with pytest.raises(StoreError, match="empty database") as caught:
        async with open_database(bare.url(), tables.metadata):
            pass
    assert caught.value.code == "database-unversioned"
    assert bare.do(form) == before


async def test_two_states_and_tables_of_others_live_in_one_database(bare: Bare) -> None:
    url = bare.url()
    bare.do(lambda c: c.execute(text("CREATE TABLE somebody_elses (id INTEGER)")))
    async with (
        open_database(url, tables.metadata, sole=True) as node,
        open_database(url, state.metadata, sole=True) as log,
    ):
        await node.change(lambda c: c.execute(insert(tables.meta).values(name="a", value="b")))
        await log.change(lambda c: c.execute(update(state.lock).values(size=1)))
