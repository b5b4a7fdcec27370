"""What must hold once all is over: in each inbox, of each alarm, and in the log.

Nothing accepted is lost, nothing arrives twice or otherwise than it was written, nothing that was
refused arrives, each decision is in the log, and no alarm sounds but those that should.
"""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.log.policyfile import write_policy
from broker.log.regional import regional_policy
from keys.directory.source import PublishedDirectory
from schemas.desk import AlertBody, DraftRequest, InboxItem, LogShown, NodeStatus, RecipientState
from schemas.desk import Submission as Outcome
from schemas.registry import model_for
from schemas.vocabulary import Status
from tests.chaos.atthehub import HUB_ALARMS
from tests.chaos.losses import Desk
from tests.chaos.misfortune import Misfortune, events, hub_said, said
from tests.chaos.plan import Fault
from tests.chaos.rogue import MAY, Rogue
from tests.chaos.servers import unseen
from tests.cli.test_ceremonies import run
from tests.faults.test_kills import whole_inbox
from tests.support.waiting import must_come

GIVEN_BACK_S = 180.0  # numbers of a killed worker: by another, a minute after its last tick
LOOK_S = 2.0
COPIED = {"checkpoint", "witnesses", "root", "tiles"}
CHECKED = COPIED | {"older checkpoints", "leaves", "gateway signatures", "counters", "times"}


async def check_arrivals(
    final: list[Outcome], desks: dict[str, Desk], rogue: Rogue, bound_s: float
) -> None:
    """What was accepted is in each inbox once, as it was written, and nothing else is."""
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
    async with must_come(bound_s, lambda: f"{rogue.accepted - arrived} never came to {MAY}"):
        while not rogue.accepted <= arrived:
            arrived |= {item.alert_id for item in await whole_inbox(desks[MAY].client)}
    wrote = {ident: request for desk in desks.values() for ident, request in desk.wrote.items()}
    got: Counter[tuple[str, str]] = Counter()
    for code, desk in desks.items():
        for item in await whole_inbox(desk.client):
            got[code, str(item.alert_id)] += 1
            if item.alert_id not in rogue.accepted:
                check_unchanged(item, wrote[item.alert_id])
    assert got == wanted
    assert set(got.values()) == {1}
    assert refused
    assert rogue.refused


def check_unchanged(item: InboxItem, request: DraftRequest) -> None:
    """What arrived under an id is what was asked for under it."""
    assert (item.status, item.precedence) == (request.status, request.precedence)
    assert item.exercise is (request.status is not Status.ACTUAL)
    assert isinstance(request.alert, AlertBody)
    kind = model_for(item.type, item.type_version)
    arrived, written = map(json.dumps, (item.alert, request.alert.body))
    assert kind.model_validate_json(arrived) == kind.model_validate_json(written)


async def check_alarms(misfortune: Misfortune, clients: dict[str, Client], bound_s: float) -> None:
    """Those sounded that should, each node finds its own mail in the log, and all is quiet."""
    assert misfortune.sounded["clock-skew"] >= 1
    assert misfortune.sounded["unconnected"] >= 1
    assert misfortune.sounded["database-damaged"] == misfortune.done[Fault.FLIP]
    lossy = sum(misfortune.done[fault] for fault in (Fault.RESTORE, Fault.FLIP, Fault.PURGE))
    assert misfortune.sounded["gap"] + misfortune.unneeded["gap"] == lossy
    assert misfortune.unneeded["gap"] <= misfortune.sounded["gap"]
    for code, client in clients.items():
        async with must_come(bound_s, lambda code=code: f"not all mail of {code} is in the log"):
            status, log = await proved(client)
        assert status.quarantined == 0
        assert status.gaps == ()
        # By a clock that is ten minutes ahead, the log is ten minutes late.
        bearable = {"log-not-proven"} if code in misfortune.ahead else set()
        assert {alarm.code for alarm in status.alarms} <= bearable, code
        assert log.own_proved


async def proved(client: Client) -> tuple[NodeStatus, LogShown]:
    """How a node is, once it is connected and waits for no proof."""
    while True:
        status = await client.node_status()
        assert status.log is not None
        owed = status.log.own_waiting or status.log.own_overdue
        if status.connected and not status.sealing and not owed:
            return status, status.log
        await asyncio.sleep(0.2)


def check_hub_alarms(
    region: DemoRegion, misfortune: Misfortune, *, alerts: int, gateways: int
) -> None:
    """The hub's processes sounded what each loss asks for, and nothing else.

    A node that was kept from cosigning is the exception, if anything happened to it; and a log that
    was started while too few could show for a minute what they cosigned.
    """
    told = events(hub_said(region))
    assert len(told) > alerts  # each decision is a line
    sounded = [(each["alarm"], each.get("member")) for each in told if "alarm" in each]
    kept = {("not-cosigned", victim) for victim in misfortune.met} | {("log-waits", None)}
    loud = Counter(alarm for alarm, member in sounded if (alarm, member) not in kept)
    emptied, lost = misfortune.done[Fault.PURGE], misfortune.done[Fault.RECORD]
    assert lost <= loud.pop("record-lost") <= lost * gateways  # of each that ran
    assert lost <= loud.pop("stream-reset")  # each start of the log until it is resumed
    assert loud == Counter(  # by which none is as good as no word of it
        {
            "stream-went-back": emptied + lost,
            "resumed-after-reset": lost,
            **{alarm: misfortune.sounded[alarm] for alarm in HUB_ALARMS},
        }
    )
    missed = unseen(region)  # one that was killed may have been back before anybody looked
    assert missed.total() >= misfortune.done[Fault.DISK]
    assert missed.keys() <= misfortune.met


def check_node_alarms(region: DemoRegion, misfortune: Misfortune) -> None:
    """Each node sounded what happened to it, and nothing else: also what was over at the end."""
    for code in region.nodes:
        sounded = {each["alarm"] for each in events(said(region, code)) if "alarm" in each}
        bearable = set[str]()
        if code in misfortune.damaged:  # or it ends by that before there is anything to sound it
            bearable.add("database-damaged")
        if code in misfortune.ahead:  # by it the log is ten minutes late
            bearable.add("log-not-proven")
        if code in misfortune.behind:  # by it what it cosigned is ten minutes ahead
            bearable.add("clock-behind")
        assert sounded <= bearable, (code, sounded)


def check_log(region: DemoRegion, folder: Path, lost: int) -> None:
    """The log verifies, by the commands an auditor has and under the region's quorum.

    Args:
        region: Whose.
        folder: For what the commands write.
        lost: How often the record of decisions was; that the log says, and auditors ask about.
    """
    policy, gateways = folder / "policy", folder / "gateways"
    keys = run(region, region.hub, "log", "keys")
    gateways.write_text(keys.stdout)
    view = PublishedDirectory.at(region.hub).view()
    policy.write_bytes(write_policy(regional_policy(view, at=clock.now())))
    trust = ("--policy", str(policy))
    found = exported(region, folder, *trust, "--gateways", str(gateways))
    assert found.pop("events") == ("WARN", f"{lost} leaves say stream: ask the hub")
    assert {outcome for outcome, _ in found.values()} == {"PASS", "SKIP"}, found
    assert {each for each in CHECKED if found[each][0] == "PASS"} == CHECKED
    for code in region.nodes:  # each member's own copy, of which the hub knows nothing
        copy = str(NodePlace(region.home(code)).folder / "log")
        found = verified(region, folder, copy, *trust, "--tiles-only")
        assert {each for each in COPIED if found[each][0] == "PASS"} == COPIED, code


def exported(region: DemoRegion, folder: Path, *trust: str) -> dict[str, tuple[str, str]]:
    """The checks of the log exported, once every number of a killed worker is given back."""
    until = time.monotonic() + GIVEN_BACK_S
    while True:
        bundle = folder / f"log-{time.monotonic_ns()}.tar"
        done = run(region, region.hub, "audit", "export", str(bundle))
        assert done.returncode == 0, done.stderr
        found = verified(region, folder, str(bundle), *trust)
        if found["counters"][0] == "PASS" or time.monotonic() > until:
            return found
        time.sleep(LOOK_S)


def verified(region: DemoRegion, folder: Path, *words: str) -> dict[str, tuple[str, str]]:
    """Outcome and detail of each check of `kentong audit verify`, which ends with 0."""
    done = run(region, folder / "nowhere", "audit", "verify", *words, "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    return {check["check"]: (check["outcome"], check["detail"]) for check in told["checks"]}
