"""A region of six under kill -9, bad lines, full disks, wrong clocks and losses, from a seed.

    KENTONG_CHAOS_SEED=7 KENTONG_CHAOS_ALERTS=10000 KENTONG_CHAOS_KILLS=200 KENTONG_CHAOS_SERVERS=3

Nothing accepted is lost, nothing arrives twice, nothing that was refused arrives, each decision is
in the log, the log verifies with its quorum, and the alarms sound that should, and no others.
"""

import asyncio
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo import alerts
from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError, Client, SignedDraft
from broker.hub.place import HubPlace
from broker.node.present import MAX_SKEW
from schemas.desk import AlertBody, DraftRequest
from schemas.desk import Submission as Outcome
from schemas.vocabulary import TLP, Precedence, Purpose, Status
from tests.chaos.atthehub import AtTheHub
from tests.chaos.ending import (
    check_alarms,
    check_arrivals,
    check_hub_alarms,
    check_log,
    check_node_alarms,
)
from tests.chaos.losses import Desk, Losses
from tests.chaos.misfortune import Misfortune
from tests.chaos.plan import (
    AT_THE_HUB,
    HUB_FAULTS,
    KINDS,
    LOSSES,
    SERVERS,
    WORKER,
    WRONG_S,
    Fault,
    Mishap,
    mishaps,
)
from tests.chaos.readers import Readers
from tests.chaos.rogue import MEMBER, Rogue, running_rogue
from tests.chaos.servers import NAMES, TendedServers, tended_servers
from tests.faults.test_full_disk import desk as impatient_desk
from tests.faults.test_kills import again_later, submitted
from tests.support.line import Line
from tests.support.preload import WrongClock, compiled
from tests.support.processes import LOGGED, running_region
from tests.support.waiting import must_come
from tests.support.wiredline import running_bad_line

NODES = ("SG", "MY", "VN", "TH", "ID", "PH")
LOSERS = ("MY", "VN", "ID", "PH")  # Thailand takes nothing, and Singapore what nobody repeats
SEED = int(os.environ.get("KENTONG_CHAOS_SEED", "1"))  # noqa: TID251 - a test setting
COUNT = os.environ.get("KENTONG_CHAOS_ALERTS")  # noqa: TID251 - likewise
KILLS = os.environ.get("KENTONG_CHAOS_KILLS")  # noqa: TID251 - likewise
ASKED = os.environ.get("KENTONG_CHAOS_SERVERS", "1")  # noqa: TID251 - likewise
GATEWAYS = 2
ROGUE_EVERY = 10
STATUSES = (Status.ACTUAL, Status.ACTUAL, Status.EXERCISE)  # and so every lane runs
pytestmark = [pytest.mark.processes, pytest.mark.soak]


@dataclass(frozen=True)
class Scale:
    """How large a run is.

    Attributes:
        servers: One that the hub starts, or three of a cluster.
    """

    servers: int
    alerts: int
    kills: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the servers of a cluster."""
        return NAMES if self.servers > 1 else ()

    @property
    def settle_s(self) -> float:
        """A submission whose worker died comes again after 30 s.

        What a node sealed before it noticed that its clock is ahead waits at the gateway until it
        is less so than `MAX_SKEW`.
        """
        return 150 + self.alerts * 0.1 + WRONG_S - MAX_SKEW.total_seconds()

    @property
    def bound_s(self) -> float:
        """Losses take most of it: nodes are started again and again."""
        return 900 + self.alerts * 0.5

    def plan(self) -> list[Mishap]:
        """What goes wrong."""
        return mishaps(
            SEED,
            alerts=self.alerts,
            kills=self.kills,
            nodes=NODES,
            losers=LOSERS,
            servers=self.names,
        )


SCALES = [
    Scale(servers, int(COUNT or alerts), int(KILLS or kills))
    for servers, alerts, kills in ((1, 120, 10), (len(NAMES), 60, 6))
    if str(servers) == ASKED
]


def through_lines(region: DemoRegion, lines: dict[str, Line]) -> None:
    """Let each node reach the hub through its own line, be it to one server or to three."""
    hub = HubPlace(region.hub).config()
    for code in region.nodes:
        lines[code].to_ports = tuple(each.port for each in hub.cluster) or (hub.port,)
        place = NodePlace(region.home(code))
        config = place.config()
        url = ",".join(f"tls://localhost:{port}" for port in lines[code].ports)
        authority = place.authority_file.read_bytes()
        place.write(config.model_copy(update={"hub_url": url}), authority)


def asked(number: int, sender: str, status: Status, precedence: Precedence) -> DraftRequest:
    """Alerts to two or three others; Thailand takes no warning that names a wallet."""
    others = [code for code in NODES if code != sender]
    first = number % len(others)
    to = (others * 2)[first : first + 2 + number % 2]
    body: AlertBody = alerts.cyber(clock.now().date(), number)
    return DraftRequest(
        status=status,
        precedence=precedence,
        alert=body,
        recipients=tuple(to),
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )


def unsent(sender: str) -> DraftRequest:
    return asked(0, sender, Status.EXERCISE, Precedence.ROUTINE)


async def sent_through_it_all(
    scale: Scale, misfortune: Misfortune, losses: Losses, at_the_hub: AtTheHub, rogue: Rogue
) -> None:
    """Every alert queued, each member's by a desk of its own, while the plan happens."""
    plan = scale.plan()
    order = random.Random(SEED)  # noqa: S311 - not for a secret
    kinds = [(order.choice(STATUSES), order.choice(list(Precedence))) for _ in range(scale.alerts)]
    turn = asyncio.Lock()
    lost: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as group:

        async def let_happen() -> None:
            """Begin what is due; all desks wait for a loss that is not made good at the next."""
            nonlocal lost
            async with turn:
                while plan and plan[0].after <= losses.begun:
                    mishap = plan.pop(0)
                    if (mishap.fault, mishap.victim) in AT_THE_HUB:
                        group.create_task(at_the_hub.happen(mishap))
                        continue
                    if mishap.fault not in LOSSES:
                        group.create_task(misfortune.happen(mishap))
                        continue
                    if lost is not None:
                        await lost
                    ready = asyncio.Event()
                    lost = group.create_task(losses.happen(mishap, ready))
                    await ready.wait()
                if losses.begun % ROGUE_EVERY == 0:
                    group.create_task(rogue.submit())
                losses.begun += 1

        async def send(sender: str, numbers: range) -> None:
            desk = losses.desks[sender]
            for number in numbers:
                await let_happen()
                async with desk.at_work:
                    request = asked(number, sender, *kinds[number])
                    signed = await prepared(desk.client, request)
                    desk.sent.append(await submitted(desk.client, signed))
                    desk.wrote[desk.sent[-1].alert_id] = request

        for first, sender in enumerate(NODES):
            group.create_task(send(sender, range(first, scale.alerts, len(NODES))))
    assert not plan


async def prepared(client: Client, request: DraftRequest) -> SignedDraft:
    """A draft, signed; asked for again while the node is away."""
    while True:
        try:
            return await client.prepare(request)
        except BrokerError as error:
            await again_later(error)


async def all_over(desks: dict[str, Desk], settle_s: float) -> list[Outcome]:
    """What every desk was told in the end, once each recipient of each alert has a last state."""
    for code, desk in desks.items():
        try:
            async with asyncio.timeout(settle_s):
                await desk.last_told()
        except TimeoutError:
            waiting = [each for each in desk.sent if each.submission_id not in desk.told]
            shown = (await desk.client.status(waiting[0].submission_id)).shown
            pytest.fail(f"{len(waiting)} of {code} are not over, the first: {shown!r}")
    return [desk.told[each.submission_id] for desk in desks.values() for each in desk.sent]


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(each, id=str(each.servers), marks=pytest.mark.timeout(each.bound_s + 120))
        for each in SCALES
    ],
)
async def test_nothing_is_lost_doubled_or_let_through(tmp_path: Path, scale: Scale) -> None:
    library = compiled("shifted", tmp_path)
    clocks = {code: WrongClock(library, tmp_path / f"{code}.clock") for code in NODES}
    hub_clocks = {
        "hub": WrongClock(library, tmp_path / "hub.clock"),
        WORKER: WrongClock(library, tmp_path / "worker.clock", of=WORKER),
    }
    environment = {code: clocks[code].environment for code in NODES}
    environment["hub"] = hub_clocks["hub"].environment | hub_clocks[WORKER].environment
    trio: list[TendedServers] = []

    @asynccontextmanager
    async def beside(region: DemoRegion) -> AsyncIterator[None]:
        async with AsyncExitStack() as servers:
            if scale.names:
                trio.append(await servers.enter_async_context(tended_servers(region)))
            yield

    async with AsyncExitStack() as stack:
        lines = {
            code: await stack.enter_async_context(
                running_bad_line(
                    tmp_path / f"line-{code}", seed=SEED + number, servers=scale.servers
                )
            )
            for number, code in enumerate(NODES)
        }
        region, processes, clients = await stack.enter_async_context(
            running_region(
                tmp_path / "r",
                log=True,
                nodes=NODES,
                gateways=GATEWAYS,
                environment=environment,
                launchers={
                    "hub": LOGGED,
                    **{code: (*lines[code].command, *LOGGED) for code in NODES},
                },
                silent=(MEMBER,),
                age=timedelta(seconds=2 * WRONG_S),  # so that a clock behind is not before all keys
                prepare=lambda region: through_lines(region, lines),
                servers=len(scale.names),
                beside=beside,
            )
        )
        rogue = await stack.enter_async_context(running_rogue(region))
        impatient = {
            code: await stack.enter_async_context(impatient_desk(region, code)) for code in NODES
        }
        misfortune = Misfortune(
            processes, clients, lines, clocks, impatient, unsent, rogue.submit, *trio
        )
        desks = {code: Desk(client) for code, client in clients.items()}
        reading = Readers(clients)
        losses = Losses(misfortune, region, desks, reading)
        at_the_hub = AtTheHub(misfortune, region, hub_clocks)
        print(f"seed {SEED}: {scale}")  # noqa: T201 - shown if it fails
        async with asyncio.timeout(scale.bound_s), reading.running():
            await sent_through_it_all(scale, misfortune, losses, at_the_hub, rogue)
            final = await all_over(desks, scale.settle_s)
            assert len(final) == scale.alerts
            await rogue.check_decisions()
            await check_arrivals(final, desks, rogue, scale.settle_s)
            await check_alarms(misfortune, clients, scale.settle_s)
            check_hub_alarms(region, misfortune, alerts=scale.alerts, gateways=GATEWAYS)
            check_node_alarms(region, misfortune)
            await asyncio.to_thread(check_log, region, tmp_path, misfortune.done[Fault.RECORD])
            # What was handed in by who was killed, or held back, came again meanwhile.
            async with must_come(
                scale.settle_s, lambda: f"{losses.waiting} hold what may come again"
            ):
                await losses.queues_empty()
            await check_arrivals(final, desks, rogue, scale.settle_s)
            for reader in reading:
                await reader.check(scale.settle_s)
    assert misfortune.done[Fault.KILL] == misfortune.killed.total() == scale.kills
    assert {*KINDS[: scale.kills]} <= misfortune.killed.keys()
    assert set(misfortune.done) == {*Fault} - {*(HUB_FAULTS if scale.names else SERVERS)}
    print(f"it met {dict(misfortune.done)}")  # noqa: T201 - to who asked
    print(f"nobody was told of {dict(misfortune.unneeded)}")  # noqa: T201 - likewise
