"""Who erases is killed before and after each step, and the same command goes on."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from typing_extensions import override

from broker import clock
from broker.gateway import record
from broker.hub.erased import note_erased, read_erased
from broker.ledger.erasure import Eraser
from broker.ledger.intake import Witnessed
from broker.ledger.state import LedgerState, metadata
from broker.ledger.subjects import SealedSubjects
from broker.log.audited import parse_audited
from broker.log.leaf import LeafKind
from broker.store.database import Database, open_database, sqlite_url
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.streamstates import stream_states
from tests.ledger.erasing import Stage, erasing
from tests.support.dying import Death, ended
from tests.support.envelopes import Made
from tests.support.gateway import submit
from tests.support.hub import BOUND_S

pytestmark = [pytest.mark.hub, pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.slow]
LEAST_STEPS = 16  # around two statements, one change, and three deletions with their notes
MOST_STEPS = 60
CHANGES = ("audit.", "$JS.API.STREAM.MSG.DELETE.")


class DyingLink(Link):
    """Dies around each change that the server is asked for."""

    def __init__(self, credentials: Credentials, death: Death) -> None:
        super().__init__(credentials)
        self._death = death

    @override
    async def _ask(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout_s: float
    ) -> Msg:
        changes = subject.startswith(CHANGES)
        if changes:
            self._death.step()
        answer = await super()._ask(subject, payload, headers, timeout_s)
        if changes:
            self._death.step()
        return answer


class DyingState(LedgerState):
    """Dies around the change of the log's database."""

    def __init__(self, database: Database, death: Death) -> None:
        super().__init__(database)
        self._death = death

    @override
    async def change_subjects(self, changed: Mapping[int, SealedSubjects | None]) -> None:
        self._death.step()
        await super().change_subjects(changed)
        self._death.step()


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with erasing(tmp_path) as running:
        yield running


async def two_records(stage: Stage, number: int) -> tuple[Made, tuple[bytes, ...]]:
    """An envelope decided, and other bytes refused under its id; nobody took the second receipt."""
    made, other = stage.make(number), stage.make(number)
    marks = await stage.marks(made, await stage.decide(made))
    await submit(stage.sg, other, attempt=2)
    marks += await stage.marks(other, await stage.refusal(other))
    beside = record.reused("SG", made.label.id, other.sealed.digest)
    found = await stage.own.get_last(record.stream_of(beside), beside)
    assert found is not None
    leaf = parse_audited(found.payload).signed.to_bytes()
    async with asyncio.timeout(BOUND_S):
        while beside not in await stage.subjects():
            pass  # each look is a request to the database
        while not await asyncio.to_thread(stage.shows, leaf):
            pass  # it is locked in the database before the files show it
    return made, marks


async def erased(stage: Stage, made: Made, death: Death) -> None:
    url = sqlite_url(stage.folder / "log.db")
    async with (
        DyingLink(stage.hub.hub_credentials(), death) as link,
        open_database(url, metadata) as database,
    ):
        await link.wait_connected(BOUND_S)
        await eraser(stage, link, DyingState(database, death), death).erase(
            "SG", made.label.id, now=clock.now()
        )


def eraser(stage: Stage, link: Link, state: LedgerState, death: Death) -> Eraser:
    noting = partial(note_erased, stage.folder / "erased.json")

    def note(stream: str, numbers: Sequence[int]) -> None:
        death.step()
        noting(stream, numbers)
        death.step()

    kept = stage.folder / "erasures"
    pen = Witnessed(stage.pen.key)  # a process of its own counts anew
    return Eraser(link, stage.committer.files, state, pen, kept, noting=note)


async def gone_on_with(stage: Stage, made: Made) -> None:
    """The same command again, which nothing kills."""
    again = eraser(stage, stage.own, stage.committer.state, Death())
    await again.erase("SG", made.label.id, now=clock.now())


def noted(stage: Stage, stream: str) -> int:
    return read_erased(stage.folder / "erased.json").count(stream)


async def test_killed_at_any_step_the_same_command_goes_on(stage: Stage) -> None:
    """Once done, nothing of it is on the disk, it is said, and the hub knows each that went."""
    codes = []
    for step in range(1, MOST_STEPS):
        made, marks = await two_records(stage, step)
        before = await stream_states(stage.own)
        known = {name: noted(stage, name) for name in before}
        said = len(stage.leaves(LeafKind.ERASURE))
        work = partial(erased, stage, made, Death(step))
        codes.append(await asyncio.to_thread(ended, work))
        await gone_on_with(stage, made)
        await stage.gone(*marks)
        for name, state in (await stream_states(stage.own)).items():
            assert noted(stage, name) - known[name] == state.gone - before[name].gone, (step, name)
        # Of two records; the first is said once more by who was killed before it was deleted.
        assert len(stage.leaves(LeafKind.ERASURE)) - said in {2, 3}, step
        assert record.decided("SG", made.label.id) in await stage.subjects()  # it stays decided
        if not codes[-1]:
            break
    *killed, last = codes
    assert last == 0
    assert set(killed) == {-signal.SIGKILL}
    assert len(killed) >= LEAST_STEPS
