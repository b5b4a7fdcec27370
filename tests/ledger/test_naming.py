"""A log that no directory names answers no witness, and says so by the minute."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker import clock
from broker.ledger.cosigning import Cosigning
from broker.ledger.naming import UNNAMED, serve_once_named
from broker.ledger.standings import SAY_AFTER_S
from broker.store.tilefiles import TileFiles
from keys.errors import KeysError
from tests.ledger.test_cosigning import NOBODY
from tests.support.hub import BOUND_S, running_hub
from tests.support.region import make_region

LOOKS = 9


@pytest.mark.hub
async def test_a_log_that_is_not_named_answers_nobody_and_says_so_each_minute(
    tmp_path: Path,
) -> None:
    looks = count()

    def named() -> bool:
        number = next(looks)
        if not number:
            raise KeysError("directory-unreadable", "not yet")
        assert not cosigning.served.is_set()
        return number >= LOOKS

    region = make_region(("SG", "MY"), now=clock.now())
    cosigning = Cosigning(TileFiles(tmp_path / "log"), lambda: NOBODY)
    passed = count()
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        with capture_logs() as logs:
            async with asyncio.timeout(BOUND_S):
                await serve_once_named(
                    cosigning,
                    link,
                    named,
                    steady=lambda: next(passed) * SAY_AFTER_S / 3,
                    poll_s=0,
                )
    assert [each["alarm"] for each in logs if "alarm" in each] == [UNNAMED] * (LOOKS // 3)
    assert cosigning.served.is_set()
