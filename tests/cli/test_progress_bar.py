"""The bar at a real terminal: a pseudo-terminal that the commands take for a person's."""

import asyncio
import errno
import os
import pty
import re
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from broker import clock
from broker.cli.demo.command import _profile
from broker.cli.demo.region import DemoRegion
from broker.cli.requests import template
from broker.client import Client
from schemas.attachment import CHUNK_BYTES
from schemas.desk import ArrivalState
from tests.support.attachments import a_file
from tests.support.desk import at_least
from tests.support.officers import write_profiles
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
CHUNKS = 380  # 95 MiB, almost all that there is room for: of 40 a quick desk draws but two bars
MIB = 1024 * 1024
BOUND_S = 200.0
_SEQUENCE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
_DRAWN = re.compile(r"film\S* (━*[╸╺]?) *([0-9.]+)/([0-9.]+) MiB")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def region(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoRegion]:
    folder = tmp_path_factory.mktemp("b") / "k"
    async with running_region(folder, prepare=write_profiles) as (made, _, _):
        yield made


class Drawn(NamedTuple):
    """A bar as it was drawn once."""

    length: int
    done: float
    whole: float


async def at_terminal(region: DemoRegion, member: str, *words: str) -> tuple[int, str]:
    """Run a command at a terminal of its own; return how it ended and all that was shown."""
    start = "from broker.cli import main; main()"
    ours, its = pty.openpty()
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", start, "--home", str(region.home(member)), *words),
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},  # noqa: TID251 - handed on
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        async with must_come(BOUND_S, lambda: f"{words[0]} does not end"):
            shown = await asyncio.to_thread(_all_of, ours)
            return await child.wait(), shown
    finally:
        os.close(ours)


def _all_of(terminal: int) -> str:
    """What was written to a terminal until nobody had it open any more."""
    read = bytearray()
    while True:
        try:
            read += os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return read.decode()


def check_bar(shown: str, size: int) -> None:
    """Return if a bar grew from the beginning to the end, and left the terminal as it was."""
    plain = _SEQUENCE.sub("", shown)
    drawn = [Drawn(len(bar), float(done), float(of)) for bar, done, of in _DRAWN.findall(plain)]
    done = [each.done for each in drawn]
    assert done == sorted(done), plain
    lengths = [each.length for each in drawn]  # a number that is longer takes a cell of it
    assert all(later >= earlier - 1 for earlier, later in pairwise(lengths)), plain
    assert len(set(done)) > 2, plain
    assert drawn[0].length < drawn[-1].length
    assert 0 < drawn[0].done < drawn[-1].done == round(size / MIB, 1)
    assert {each.whole for each in drawn} == {round(size / MIB, 1)}
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is there again
    after = shown[shown.index("\x1b[?25h") :]
    assert not _DRAWN.search(_SEQUENCE.sub("", after))  # nothing is drawn once it ended


async def test_a_bar_moves_and_ends_at_both_desks(region: DemoRegion, tmp_path: Path) -> None:
    film, out = tmp_path / "film.bin", tmp_path / "film.out"
    film.write_bytes(a_file(CHUNKS))
    size = film.stat().st_size
    assert size > (CHUNKS - 1) * CHUNK_BYTES
    alert = tmp_path / "alert.yaml"
    alert.write_text(template("cyber", clock.now().date()))
    code, shown = await at_terminal(
        region, "SG", "send", str(alert), "--attach", str(film), "--yes"
    )
    assert code == 0, shown
    check_bar(shown, size)
    assert "film.bin: " not in shown  # plain lines are for a pipe
    async with Client(profile=_profile(region, "MY")) as desk:
        async with (
            must_come(BOUND_S, lambda: "the file never arrived"),
            desk.subscribe(cursor="bar") as events,
        ):
            envelope = (await anext(aiter(events))).shown.id
            arrived = await at_least(desk, envelope, 10 * CHUNKS)
        assert arrived.state is ArrivalState.COMPLETE
    words = ("show", str(envelope), "--attachment", "1", "--out", str(out))
    code, shown = await at_terminal(region, "MY", *words)
    assert code == 0, shown
    check_bar(shown, size)
    assert out.read_bytes() == film.read_bytes()
