"""Which numbers a leaf has already: asked for a run at a time, whatever the run looks like."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.ledger.state import LedgerState, Locked, Number, metadata
from broker.store.database import open_database, sqlite_url

FAR = 2**64 - 1


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[LedgerState]:
    async with open_database(sqlite_url(tmp_path / "log.db"), metadata) as database:
        state = LedgerState(database)
        await state.found(b"note", 0)
        yield state


def of(gateway: str, boot: int, *seqs: int) -> list[Number]:
    return [Number(gateway, boot, seq, f"{gateway}/{boot}/{seq}") for seq in seqs]


async def test_numbers_side_by_side_and_far_apart_are_found(state: LedgerState) -> None:
    taken = [*of("g1", 7, *range(3000), FAR), *of("g1", FAR, 5), *of("g2", 7, 0, 2**40)]
    await state.advance(0, Locked(len(taken), b"next"), read={}, taken=taken)
    asked = [
        *of("g1", 7, FAR, 2999, 3000, 0, 2**63),
        *of("g1", 7, *range(1000, 2500)),
        *of("g1", FAR, 4, 5, 6),
        *of("g2", 7, 2**40, 1),
        *of("g3", 7, 0),
    ]
    found = await state.known(asked)
    assert found == {each: each.said for each in set(asked) & set(taken)}
    assert len(found) == 3 + 1500 + 1 + 1
    assert await state.known([]) == {}


@given(
    taken=st.sets(st.integers(0, 60)),
    asked=st.lists(st.integers(0, 60) | st.integers(FAR - 9, FAR)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
async def test_any_set_of_numbers_is_found(
    tmp_path_factory: pytest.TempPathFactory, taken: set[int], asked: list[int]
) -> None:
    path = tmp_path_factory.mktemp("n") / "log.db"
    async with open_database(sqlite_url(path), metadata) as database:
        state = LedgerState(database)
        await state.found(b"note", 0)
        await state.advance(0, Locked(1, b"next"), read={}, taken=of("g", 1, *taken))
        found = await state.known(of("g", 1, *asked))
    assert {number.seq for number in found} == taken & set(asked)
