"""The log's database on a real PostgreSQL: the same history, and a clear end where it fails."""

import asyncio
import itertools
from pathlib import Path

import pytest

from broker.errors import BrokerError
from broker.ledger.errors import LedgerError
from broker.ledger.state import LedgerState, Locked, Number, Position, metadata
from broker.store.database import StoreError, open_database
from tests.ledger.growing import BATCHES, STEPS, a_log, entries
from tests.ledger.test_commit import grown, whole
from tests.support.postgres import Postgres

pytestmark = pytest.mark.timeout(120)
_names = (f"log{number}" for number in itertools.count())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database(next(_names))


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_a_step_it_goes_on(folder: Path, url: str, step: str) -> None:
    assert grown(folder, step, 5, 0, url) == (0 if step == "never" else -9)
    expected = sum(BATCHES[:4]) + (0 if step == "staged" else BATCHES[4])
    async with a_log(folder, url=url) as committer:
        assert (await committer.recover()).size == expected
        assert await committer.state.count() == expected
        assert (await committer.state.positions())["AUDIT_2026"].next_seq == expected
        taken = [entry.number for entry in entries(0, 3)]
        far = [Number(taken[0].gateway, taken[0].boot, seq) for seq in (2**63, 2**64 - 1)]
        asked = [*taken, *far, Number("none", 2**64 - 1, 7)]
        assert set(await committer.state.known(asked)) == set(taken)
        await committer.grow(expected, entries(expected, 5), {})
        assert whole(committer).size == expected + 5


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_two_that_move_the_lock_record_at_once_are_told_apart(
    url: str, isolation: str
) -> None:
    loud = f"{url}&options=-c%20default_transaction_isolation={isolation.replace(' ', '%5C%20')}"
    async with open_database(loud, metadata) as one, open_database(loud, metadata) as other:
        states = (LedgerState(one), LedgerState(other))
        await states[0].found(b"first", 0)
        results = await asyncio.gather(
            *(
                state.advance(
                    0,
                    Locked(1, b"second"),
                    read={"A": Position("then", 2)},
                    taken=[Number("g", number, 0)],
                )
                for number, state in enumerate(states)
            ),
            return_exceptions=True,
        )
        (lost,) = (result for result in results if result is not None)
        assert isinstance(lost, LedgerError | StoreError)
        assert lost.code in {"fenced", "database-conflict"}
        assert (await states[0].locked()).size == 1
        assert await states[0].count() == 1


async def test_a_database_that_went_away_ends_it_and_nothing_is_shown(
    folder: Path, postgres: Postgres, url: str
) -> None:
    async with a_log(folder, url=url) as committer:
        await committer.recover()
        await committer.grow(0, entries(0, 3), {})
        in_sight = committer.files.checkpoint()
        postgres.stop()
        try:
            with pytest.raises(StoreError) as caught:
                await committer.grow(3, entries(3, 3), {})
            assert caught.value.code == "database-lost"
            assert committer.files.checkpoint() == in_sight
            with pytest.raises(StoreError) as caught:
                await committer.recover()
            assert caught.value.code == "database-lost"
            assert committer.files.checkpoint() == in_sight
        finally:
            postgres.start()
    async with a_log(folder, url=url) as committer:
        assert (await committer.recover()).size == 6
        assert whole(committer).size == 6


async def test_without_a_server_it_does_not_begin(folder: Path) -> None:
    nowhere = f"postgresql+psycopg://nobody@/none?host={folder}"
    with pytest.raises(BrokerError) as caught:
        async with a_log(folder, url=nowhere):
            pass
    assert caught.value.code == "database-lost"
