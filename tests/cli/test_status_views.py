"""`kentong hub status` and `kentong node status`: at a terminal, in a pipe, for a program."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest
import pytest_asyncio

from broker.cli.admin.hub_figures import HubFigures, QueueFigures
from broker.cli.board import span
from broker.cli.demo.region import DemoRegion
from schemas.vocabulary import Status
from tests.support.officers import heed_interrupts
from tests.support.processes import running_region, warning

pytestmark = pytest.mark.slow

START = "from broker.cli import main; main()"
SHOWN = """\
kentong_hub_queue_messages{queue="inbox",member="MY",part="urgent"} 2
kentong_hub_queue_messages{queue="inbox",member="MY",part="normal"} 3
kentong_hub_queue_messages{queue="submit",member="SG",part=""} 1
kentong_hub_queue_messages{queue="held",member="MY",part="SG"} 0
kentong_hub_queue_messages{queue="audit",member="",part="2026"} 900
kentong_hub_queue_oldest_age_seconds{queue="inbox",member="MY",part="urgent"} 30
kentong_hub_queue_oldest_age_seconds{queue="inbox",member="MY",part="normal"} 7200
kentong_hub_queue_bytes{queue="inbox",member="MY",part="urgent"} 90
kentong_hub_queue_limit_bytes{queue="inbox",member="MY",part="urgent"} 100
kentong_hub_queue_bytes{queue="inbox",member="MY",part="normal"} 10
kentong_hub_queue_limit_bytes{queue="inbox",member="MY",part="normal"} 100
"""


def test_a_members_queue_shows_its_sum_its_oldest_and_its_fullest_part() -> None:
    assert HubFigures(SHOWN).queues() == (
        QueueFigures("submit", "SG", 1, 0.0, 0.0),
        QueueFigures("inbox", "MY", 5, 7200.0, 0.9),
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_720, "1 h 2 min"),
        (90_000, "1 d 1 h"),
        (-61, "OVER for 1 min"),
        (float("nan"), "-"),
    ],
)
def test_a_span_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def region(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoRegion]:
    """MY is away, and one alert waits for it."""
    folder = tmp_path_factory.mktemp("v") / "r"
    async with running_region(folder, log=True, nodes=("SG", "MY")) as (made, processes, clients):
        await processes.kill("MY")
        submission = await clients["SG"].send(warning(1, ("MY",), status=Status.ACTUAL))
        await submission.wait("accepted")
        async with asyncio.timeout(60):
            while not (await told(made.hub, "hub"))[1]["queues"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)
        yield made


async def told(home: Path, what: str) -> tuple[int | None, dict[str, object]]:
    code, out = await printed(home, what, "status", "--json")
    found: dict[str, object] = json.loads(out)
    return code, found


async def printed(home: Path, *words: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        *command(home, *words), env=environment(), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    return child.returncode, out.decode()


def command(home: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", START, "--home", str(home), *words)


def environment() -> dict[str, str]:
    return {**os.environ, "LANG": "C.UTF-8"}  # noqa: TID251 - handed on to a child


@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_hub_shows_what_waits_how_long_and_what_expires(region: DemoRegion) -> None:
    code, shown = await told(region.hub, "hub")
    assert (code, shown["running"]) == (0, True)
    (queue,) = (each for each in shown["queues"] if each["queue"] == "inbox")  # type: ignore[attr-defined]
    assert (queue["member"], queue["messages"]) == ("MY", 1)
    assert queue["lag_s"] > 0
    assert shown["certificates_left_s"]["server"] > 86_400  # type: ignore[index]
    assert shown["directory_roles_left_s"]["member-SG"] > 86_400  # type: ignore[index]
    assert set(shown["processes_silent_s"]) == {"gateway-1", "log-sequencer"}  # type: ignore[call-overload]
    assert shown["processes_missing"] == []
    _, text = await printed(region.hub, "hub", "status")
    assert "\x1b" not in text
    assert any(line.startswith("inbox\tMY\t1\t") for line in text.splitlines())
    assert "certificate: server" in text


@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_shows_its_state_with_no_token_and_says_when_it_is_away(
    region: DemoRegion,
) -> None:
    code, shown = await told(region.home("SG"), "node")
    assert (code, shown["ok"]) == (0, True)
    assert shown["checks"] == {"connected": True, "directory": True, "writes": True}
    assert (shown["outbox"], shown["oldest_waits_s"]) == ({"decided": 1}, 0)
    assert shown["left_s"]["directory"] > 0  # type: ignore[index]
    code, shown = await told(region.home("MY"), "node")
    assert (code, shown["ok"], shown["checks"]) == (4, False, {})


@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
async def test_watching_draws_again_at_a_terminal_and_in_a_pipe(region: DemoRegion) -> None:
    words = command(region.hub, "hub", "status", "--watch", "--every", "0.5")
    child = await asyncio.create_subprocess_exec(
        *words, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    frames = 0
    async with asyncio.timeout(60):
        while frames < 2:
            frames += (await child.stdout.readline()).startswith(b"inbox\tMY\t")
    child.kill()
    await child.wait()
    home, what = region.home("SG"), ("node", "status", "--watch", "--every", "0.5")
    program, *rest = command(home, *what)
    screen = pexpect.spawn(
        program,
        rest,
        env={**environment(), "TERM": "xterm"},
        dimensions=(60, 100),
        timeout=60,
        preexec_fn=heed_interrupts,
    )
    for _ in range(2):
        await asyncio.to_thread(screen.expect, "connected to the hub +yes")
    screen.sendintr()
    await asyncio.to_thread(screen.expect, pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 130
