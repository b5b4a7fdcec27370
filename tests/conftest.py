"""What every test may ask for: the external records, or a skip with its reason."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from broker.store.database import open_database
from broker.store.tables import metadata

FOLDERS = [each.name for each in Path(__file__).parent.iterdir() if each.is_dir()]
pytest.register_assert_rewrite(*(f"tests.{name}" for name in FOLDERS))  # helpers say what failed

from tests.support.databases import TEMPLATE, Databases, kept_in
from tests.support.postgres import Postgres, installed, running_postgres
from tests.support.unforgiven import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]  # A hook, found here by its name.

settings.register_profile(
    "fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))  # noqa: TID251 - a test setting


@pytest.fixture(scope="session")
def external() -> Path:
    """The folder with `data/` and `vectors/`: skipped where unset, a failure in CI."""
    where = os.environ.get("KENTONG_TEST_DATA")  # noqa: TID251 - a test setting
    if where and (Path(where) / "data").is_dir():
        return Path(where)
    reason = "KENTONG_TEST_DATA names no folder with data/ and vectors/"
    if os.environ.get("CI"):  # noqa: TID251 - a test setting
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL: skipped where none is installed, a failure in CI."""
    with running_postgres(installed()) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> Postgres:
    """The same, with a database that has a node's tables."""

    async def make() -> None:
        async with open_database(postgres.database(TEMPLATE), metadata):
            pass

    asyncio.run(make())
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Runs a test twice: its nodes keep their state in SQLite, then in PostgreSQL."""
    server = None if request.param == "sqlite" else request.getfixturevalue("template")
    with kept_in(Databases(server)) as databases:
        yield databases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def databases_of_module(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The same for all tests of a module, whose nodes stay."""
    server = None if request.param == "sqlite" else request.getfixturevalue("template")
    with kept_in(Databases(server)) as databases:
        yield databases
