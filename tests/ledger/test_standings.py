"""Waiting for witnesses after a start is told by the minute, of time that went by."""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker.ledger import standings
from broker.ledger.standings import SAY_AFTER_S, Standings
from broker.store.tilefiles import TileFiles
from tests.log.test_policy import POLICY

LOOKS = 9


@pytest.mark.parametrize(("step_s", "said"), [(SAY_AFTER_S / 3, LOOKS // 3), (0.0, 0)])
async def test_who_waits_for_witnesses_says_so_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float, said: int
) -> None:
    monkeypatch.setattr(standings, "AGREE_POLL_S", 0)
    looks: Iterator[int] = count()
    waiting = Standings(TileFiles(tmp_path), lambda: POLICY)

    def steady() -> float:
        number = next(looks)
        if number == LOOKS:  # they show that they cosigned nothing yet
            waiting.latest |= dict.fromkeys((each.name for each in POLICY.witnesses), None)
        return number * step_s

    waiting.steady = steady
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await waiting.wait_agreed(0)
    assert [each["alarm"] for each in logs] == ["log-waits"] * said
