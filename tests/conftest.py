"""What every test may ask for: the external records, or a skip with its reason."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
