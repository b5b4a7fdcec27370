"""A region of six under kill -9, bad lines, full disks, wrong clocks and losses, from a seed.

    KENTONG_CHAOS_SEED=7 KENTONG_CHAOS_ALERTS=10000 KENTONG_CHAOS_KILLS=200 KENTONG_CHAOS_SERVERS=3

Nothing accepted is lost, nothing arrives twice, nothing that was refused arrives, each decision is
in the log, the log verifies with its quorum, and the alarms sound that should, and no others.
"""

import asyncio
import json
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo import alerts
from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError, Client, SignedDraft
from broker.hub.place import HubPlace
from broker.log.policyfile import write_policy
from broker.log.regional import regional_policy
from keys.directory.source import PublishedDirectory
from schemas.desk import AlertBody, DraftRequest, RecipientState
from schemas.desk import Submission as Outcome
from schemas.vocabulary import TLP, Precedence, Purpose, Status
from tests.chaos.losses import Desk, Losses
from tests.chaos.misfortune import Misfortune
from tests.chaos.plan import LOSSES, SERVERS, WRONG_S, Fault, mishaps
from tests.chaos.rogue import MAY, MEMBER, Rogue, running_rogue
from tests.chaos.servers import NAMES, TendedServers, tended_servers, unseen
from tests.cli.test_ceremonies import run
from tests.faults.test_full_disk import desk as impatient_desk
from tests.faults.test_kills import again_later, submitted, whole_inbox
from tests.support.line import Line
from tests.support.preload import WrongClock, compiled
from tests.support.processes import running_region
from tests.support.wiredline import running_bad_line

NODES = ("SG", "MY", "VN", "TH", "ID", "PH")
LOSERS = ("MY", "VN", "ID", "PH")  # Thailand takes nothing, and Singapore what nobody repeats
SEED = int(os.environ.get("KENTONG_CHAOS_SEED", "1"))  # noqa: TID251 - a test setting
COUNT = os.environ.get("KENTONG_CHAOS_ALERTS")  # noqa: TID251 - likewise
KILLS = os.environ.get("KENTONG_CHAOS_KILLS")  # noqa: TID251 - likewise
ASKED = os.environ.get("KENTONG_CHAOS_SERVERS")  # noqa: TID251 - likewise; both, if nobody asks
COPIED = {"checkpoint", "witnesses", "root", "tiles"}
CHECKED = COPIED | {"older checkpoints", "leaves", "gateway signatures", "counters", "times"}
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
        """A submission whose worker died comes again after 30 s."""
        return 150 + self.alerts * 0.1

    @property
    def bound_s(self) -> float:
        """Losses take most of it: nodes are started again and again."""
        return 900 + self.alerts * 0.5


SCALES = [
    Scale(servers, int(COUNT or alerts), int(KILLS or kills))
    for servers, alerts, kills in ((1, 120, 10), (len(NAMES), 60, 6))
    if ASKED in {None, str(servers)}
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
    scale: Scale, misfortune: Misfortune, losses: Losses, rogue: Rogue
) -> None:
    """Every alert queued, each member's by a desk of its own, while the plan happens."""
    plan = mishaps(
        SEED,
        alerts=scale.alerts,
        kills=scale.kills,
        nodes=NODES,
        losers=LOSERS,
        servers=scale.names,
    )
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
                    if mishap.fault not in LOSSES:
                        group.create_task(misfortune.happen(mishap))
                        continue
                    if lost is not None:
                        await lost
                    ready = asyncio.Event()
                    lost = group.create_task(losses.happen(mishap, ready))
                    await ready.wait()
                if losses.begun % ROGUE_EVERY == 0:
                    group.create_task(rogue.submit(losses.begun // ROGUE_EVERY))
                losses.begun += 1

        async def send(sender: str, numbers: range) -> None:
            desk = losses.desks[sender]
            for number in numbers:
                await let_happen()
                async with desk.at_work:
                    request = asked(number, sender, *kinds[number])
                    signed = await prepared(desk.client, request)
                    desk.sent.append(await submitted(desk.client, signed))

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
                environment={code: clocks[code].environment for code in NODES},
                launchers={code: lines[code].command for code in NODES},
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
        misfortune = Misfortune(processes, clients, lines, clocks, impatient, unsent, *trio)
        desks = {code: Desk(client) for code, client in clients.items()}
        losses = Losses(misfortune, region, desks)
        print(f"seed {SEED}: {scale}")  # noqa: T201 - shown if it fails
        async with asyncio.timeout(scale.bound_s):
            await sent_through_it_all(scale, misfortune, losses, rogue)
            final = await all_over(desks, scale.settle_s)
            assert len(final) == scale.alerts
            await rogue.check_decisions()
            await check_arrivals(final, clients, rogue)
            await check_alarms(misfortune, clients)
            check_hub_alarms(region, misfortune, scale)
            await asyncio.to_thread(check_log, region, tmp_path, misfortune.done[Fault.RECORD])
    assert misfortune.done[Fault.KILL] == scale.kills
    assert set(misfortune.done) == {*Fault} - {*(() if scale.names else SERVERS)}
    print(f"it met {dict(misfortune.done)}")  # noqa: T201 - to who asked


async def check_arrivals(final: list[Outcome], clients: dict[str, Client], rogue: Rogue) -> None:
    """What was accepted is in each inbox once, and nothing else is."""
    assert len(final) == len({each.submission_id for each in final})
    wanted = Counter({(MAY, str(alert_id)): 1 for alert_id in rogue.accepted})
    refused = 0
    for each in final:
        for outcome in each.recipients:
            if outcome.recipient == "TH":
                assert outcome.state is RecipientState.REFUSED, outcome.code
                refused += 1
                continue
            assert outcome.state is RecipientState.DELIVERED, (outcome.state, outcome.code)
            wanted[outcome.recipient, str(each.alert_id)] += 1
    arrived: set[UUID] = set()
    while not rogue.accepted <= arrived:
        arrived |= {item.alert_id for item in await whole_inbox(clients[MAY])}
    got: Counter[tuple[str, str]] = Counter()
    for code in NODES:
        for item in await whole_inbox(clients[code]):
            got[code, str(item.alert_id)] += 1
    assert got == wanted
    assert set(got.values()) == {1}
    assert refused
    assert rogue.refused


async def check_alarms(misfortune: Misfortune, clients: dict[str, Client]) -> None:
    """Those sounded that should, each node finds its own mail in the log, and all is quiet."""
    assert misfortune.sounded["clock-skew"] >= 1
    assert misfortune.sounded["unconnected"] >= 1
    assert misfortune.sounded["database-damaged"] == misfortune.done[Fault.FLIP]
    assert misfortune.sounded["gap"] == sum(
        misfortune.done[fault] for fault in (Fault.RESTORE, Fault.FLIP, Fault.PURGE)
    )
    for code, client in clients.items():
        while True:
            status = await client.node_status()
            assert status.log is not None
            owed = status.log.own_waiting or status.log.own_overdue
            if status.connected and not status.sealing and not owed:
                break
            await asyncio.sleep(0.2)
        assert status.quarantined == 0
        assert status.gaps == ()
        # By a clock that is ten minutes ahead, the log is ten minutes late.
        bearable = {"log-not-proven"} if code in misfortune.ahead else set()
        assert {alarm.code for alarm in status.alarms} <= bearable, code
        assert status.log.own_proved


def check_hub_alarms(region: DemoRegion, misfortune: Misfortune, scale: Scale) -> None:
    """The hub's processes sounded what each loss asks for, and nothing else.

    A node that was kept from cosigning is the exception, if anything happened to it.
    """
    lines = (region.folder / "hub.log").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(told) > scale.alerts  # each decision is a line
    sounded = [(each["alarm"], each.get("member")) for each in told if "alarm" in each]
    kept = {("not-cosigned", victim) for victim in misfortune.met}
    loud = Counter(alarm for alarm, member in sounded if (alarm, member) not in kept)
    emptied, lost = misfortune.done[Fault.PURGE], misfortune.done[Fault.RECORD]
    assert lost <= loud.pop("record-lost") <= lost * GATEWAYS  # of each that ran
    assert lost <= loud.pop("stream-reset")  # each start of the log until it is resumed
    assert loud == {
        "stream-went-back": emptied + lost,
        "resumed-after-reset": lost,
    }
    missed = unseen(region)  # one that was killed may have been back before anybody looked
    assert missed.total() >= misfortune.done[Fault.DISK]
    assert missed.keys() <= misfortune.met


def check_log(region: DemoRegion, folder: Path, lost: int) -> None:
    """The log verifies, by the commands an auditor has and under the region's quorum.

    Args:
        region: Whose.
        folder: For what the commands write.
        lost: How often the record of decisions was; that the log says, and auditors ask about.
    """
    bundle, policy, gateways = folder / "log.tar", folder / "policy", folder / "gateways"
    done = run(region, region.hub, "audit", "export", str(bundle))
    assert done.returncode == 0, done.stderr
    keys = run(region, region.hub, "log", "keys")
    gateways.write_text(keys.stdout)
    view = PublishedDirectory.at(region.hub).view()
    policy.write_bytes(write_policy(regional_policy(view, at=clock.now())))
    trust = ("--policy", str(policy))
    found = verified(region, folder, str(bundle), *trust, "--gateways", str(gateways))
    assert found.pop("events") == ("WARN", f"{lost} leaves say stream: ask the hub")
    assert {outcome for outcome, _ in found.values()} == {"PASS", "SKIP"}, found
    assert {each for each in CHECKED if found[each][0] == "PASS"} == CHECKED
    for code in NODES:  # each member's own copy, of which the hub knows nothing
        copy = str(NodePlace(region.home(code)).folder / "log")
        found = verified(region, folder, copy, *trust, "--tiles-only")
        assert {each for each in COPIED if found[each][0] == "PASS"} == COPIED, code


def verified(region: DemoRegion, folder: Path, *words: str) -> dict[str, tuple[str, str]]:
    """Outcome and detail of each check of `kentong audit verify`, which ends with 0."""
    done = run(region, folder / "nowhere", "audit", "verify", *words, "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    return {check["check"]: (check["outcome"], check["detail"]) for check in told["checks"]}
