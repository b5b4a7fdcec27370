"""What every test may ask for: the external records, or a skip with its reason."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import Postgres, programs, running_postgres

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
    """A real PostgreSQL: skipped where none is installed."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_postgres(found) as server:
        yield server
