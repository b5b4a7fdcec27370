"""The node's API as it is served, for all requests that are made up."""

from collections.abc import Iterator

import pytest

from tests.fuzz.served import Place, served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The API of a node of SG, for as long as the module runs."""
    with served(tmp_path_factory.mktemp("api")) as found:
        yield found
