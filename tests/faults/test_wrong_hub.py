"""A hub whose clock is wrong by ten minutes, or that has no room, all of it or one worker.

That is told, and nothing is lost.

nats-server is a static program, for which no clock can be preloaded: its own stays right.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Submission
from broker.log.policyfile import write_policy
from broker.log.regional import regional_policy
from keys.directory.source import PublishedDirectory
from schemas.desk import SubmissionState
from tests.cli.test_ceremonies import run
from tests.faults.test_kills import whole_inbox
from tests.faults.test_lost_record import log_lines, stop_hub
from tests.support.fulldisk import may_grow, no_growth
from tests.support.monitoring import of_hub
from tests.support.preload import WrongClock, compiled
from tests.support.processes import (
    LOGGED,
    child_of_hub,
    descendants,
    running_region,
    until_delivered,
    warning,
)
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]
BOUND_S = 240
WRONG_S = 600
WORKER = "--worker 2"


def alarms(region: DemoRegion) -> Counter[tuple[str, str]]:
    """Alarms of the hub's processes, by their process."""
    told = [json.loads(line) for line in log_lines(region, '"alarm"')]
    return Counter((each["alarm"], each["process"]) for each in told)


async def until_said(region: DemoRegion, alarm: str, process: str, times: int = 1) -> None:
    async with must_come(BOUND_S, lambda: f"{process} never said {alarm}"):
        while alarms(region)[alarm, process] < times:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def until_sealing(client: Client, why: str) -> None:
    async with must_come(BOUND_S, lambda: f"sealing is never {why!r}"):
        while (await client.node_status()).sealing != why:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def until_proved(client: Client) -> None:
    """Return once the log holds all that this node sent."""
    async with must_come(BOUND_S, lambda: "not all that was sent is proved"):
        while True:
            log = (await client.node_status()).log
            if log is not None and log.own_proved and not (log.own_waiting or log.own_overdue):
                return
            await asyncio.sleep(0.1)


def audited(region: DemoRegion, folder: Path) -> dict[str, str]:
    """What an auditor finds of each check."""
    bundle, policy, gateways = folder / "log.tar", folder / "policy", folder / "gateways"
    assert run(region, region.hub, "audit", "export", str(bundle)).returncode == 0
    gateways.write_text(run(region, region.hub, "log", "keys").stdout)
    view = PublishedDirectory.at(region.hub).view()
    policy.write_bytes(write_policy(regional_policy(view, at=clock.now())))
    words = (str(bundle), "--policy", str(policy), "--gateways", str(gateways), "--json")
    told = json.loads(run(region, folder / "nowhere", "audit", "verify", *words).stdout)
    return {check["check"]: check["outcome"] for check in told["checks"]}


async def check_kept(
    region: DemoRegion, clients: dict[str, Client], sent: list[Submission], folder: Path
) -> None:
    """Each is in the inbox once, and the log is one whose times an auditor finds in order."""
    for each in sent:
        await until_delivered(clients["SG"], each, BOUND_S)
    kept = [item.alert_id for item in await whole_inbox(clients["MY"])]
    assert sorted(kept) == sorted(each.alert_id for each in sent)
    await until_proved(clients["SG"])
    found = await asyncio.to_thread(audited, region, folder)
    assert {found[each] for each in ("counters", "times", "witnesses", "root")} == {"PASS"}


@pytest.mark.parametrize("ahead_s", [WRONG_S, -WRONG_S], ids=["ahead", "behind"])
async def test_all_of_it_judges_nothing_until_it_is_right(tmp_path: Path, ahead_s: int) -> None:
    wrong = WrongClock(compiled("shifted", tmp_path), tmp_path / "hub.clock")
    async with running_region(
        tmp_path / "r", nodes=("SG", "MY"), log=True, environment={"hub": wrong.environment}
    ) as (region, processes, clients):
        sg = clients["SG"]
        sent = [await sg.send(warning(1, ("MY",)))]
        await until_proved(sg)
        wrong.put(ahead_s)
        await until_said(region, "hub-clock-jumped", "hub")
        for process in ("gateway-1", "log-sequencer"):
            await until_said(region, "clock-wrong", process)
        await until_sealing(sg, "clock-skew")
        sent.append(await sg.send(warning(2, ("MY",))))
        await stop_hub(processes)
        await processes.start_hub()  # as wrong as before
        await until_said(region, "clock-wrong", "gateway-1", times=2)
        shown = (await sg.status(sent[1].id)).shown
        assert (shown.state, shown.waiting_for) == (SubmissionState.QUEUED, "clock-skew")
        assert alarms(region)["hub-clock-jumped", "hub"] == 1
        wrong.put(0)
        await until_said(region, "hub-clock-jumped", "hub", times=2)
        await check_kept(region, clients, sent, tmp_path)


@pytest.mark.parametrize("ahead_s", [WRONG_S, -WRONG_S], ids=["ahead", "behind"])
async def test_one_worker_ends_and_the_other_judges(tmp_path: Path, ahead_s: int) -> None:
    wrong = WrongClock(compiled("shifted", tmp_path), tmp_path / "worker.clock", of=WORKER)
    async with running_region(
        tmp_path / "r",
        nodes=("SG", "MY"),
        log=True,
        gateways=2,
        environment={"hub": wrong.environment},
    ) as (region, _, clients):
        sg = clients["SG"]
        sent = [await sg.send(warning(1, ("MY",)))]
        await until_proved(sg)
        wrong.put(ahead_s)
        await until_said(region, "clock-wrong", "gateway-2")
        sent += [await sg.send(warning(number, ("MY",))) for number in range(2, 8)]
        for each in sent:
            await until_delivered(sg, each, BOUND_S)
        await until_said(region, "clock-wrong", "gateway-2", times=2)  # begun again, as wrong
        wrong.put(0)
        assert {process for _, process in alarms(region)} == {"gateway-2"}
        await check_kept(region, clients, sent, tmp_path)


async def test_a_worker_without_room_ends_and_the_hub_without_room_goes_on(
    tmp_path: Path,
) -> None:
    async with running_region(
        tmp_path / "r", nodes=("SG", "MY"), log=True, launchers={"hub": LOGGED}
    ) as (region, processes, clients):
        sg = clients["SG"]
        sent = [await sg.send(warning(1, ("MY",)))]
        await until_delivered(sg, sent[0], BOUND_S)
        hub = processes.pids()["hub"]
        worker = child_of_hub(processes, "gateway run")
        no_growth(worker)
        sent.append(await sg.send(warning(2, ("MY",))))
        await until_delivered(sg, sent[1], BOUND_S)  # it judges on, for what it wrote down holds
        async with must_come(BOUND_S, lambda: "the worker that nobody hears of did not end"):
            while worker in descendants(hub):  # noqa: ASYNC110 - until nobody has heard of it for long
                await asyncio.sleep(0.1)
        assert log_lines(region, "[run-abandoned]")  # so it says
        sent.append(await sg.send(warning(3, ("MY",))))
        await until_delivered(sg, sent[2], BOUND_S)  # by the next worker, which has room
        no_growth(hub)
        sent.append(await sg.send(warning(4, ("MY",))))
        await until_delivered(sg, sent[3], BOUND_S)
        await until_ready(region, ready=False)
        may_grow(hub, *descendants(hub))
        await until_ready(region, ready=True)
        assert processes.pids()["hub"] == hub
        await check_kept(region, clients, sent, tmp_path)


async def until_ready(region: DemoRegion, *, ready: bool) -> None:
    """Return once monitoring is told so: writes are asked for by name."""
    async with must_come(BOUND_S, lambda: f"monitoring was never told ready={ready}"):
        while True:
            answer = await of_hub(region, "/readyz")
            if (answer.status_code == 200) is ready:
                assert ready or "writes" in answer.text
                return
            await asyncio.sleep(0.2)
