"""A region founded once; each test changes a copy of its own."""

from pathlib import Path

import pytest

from tests.support.directory import RealRegion, found


@pytest.fixture(scope="package")
def founded(tmp_path_factory: pytest.TempPathFactory) -> RealRegion:
    return found(tmp_path_factory.mktemp("founded") / "region")


@pytest.fixture
def region(founded: RealRegion, tmp_path: Path) -> RealRegion:
    return founded.copied(tmp_path / "region")
