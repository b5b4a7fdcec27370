"""A region driven at random against a model of what must hold, whatever the order of events.

Accepted is kept, and delivered exactly once; what was not accepted never arrives; from a
suspended member, or under a suspended key, nothing is accepted, and the code says why; the policy
in force decides, and where it changed under way one of those that were in force; keys of every kind
are replaced under way, and a member joins, and nothing is lost by it; what an officer signed who
left meanwhile arrives or is set aside, and both sides are told. An exercise is never counted as
real; no node misses a number, sets aside or alarms but where it must; each decision has one leaf
once the log has caught up, and its tree is the one that was signed, and grew from those before.
"""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from broker.log.leaf import LeafKind
from schemas.desk import RecipientState, SubmissionState
from tests.model.stage import FOUNDERS, GATEWAY, JOINER, LOG, Rules, Stage, opened_stage
from tests.support.waiting import must_come

STEP_S = 300.0  # far beyond what a step takes; nothing here waits for a clock
DEEP = int(os.environ.get("KENTONG_MODEL_EXAMPLES", "6"))  # noqa: TID251 - a test setting
# What changed between the decision and the arrival: the recipient's node judges again.
ASIDE = {
    "officer-revoked",
    "policy-export-default",
    "policy-import-default",
    "member-suspended",
}
ResultT = TypeVar("ResultT")
members: Bundle[str] = Bundle("members")
EVERYONE = (*FOUNDERS, JOINER)
directions = st.sampled_from(("export", "import"))


@dataclass
class UnderWay:
    """An alert that was queued, and what may become of each copy: True, it arrives; False, not.

    Attributes:
        why: The codes that may say why a copy did not arrive, by what stood against it meanwhile.
    """

    sender: str
    submission_id: UUID
    exercise: bool
    may: dict[str, set[bool]]
    why: dict[str, set[str]]


class Region(RuleBasedStateMachine):
    """The model: what each member must hold, and what the gateway must have decided."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.closed: dict[str, set[str]] = {"export": set(), "import": set()}
        self.suspended: set[str] = set()
        self.open: list[UnderWay] = []
        self.expected: dict[str, list[tuple[UUID, bool]]] = {code: [] for code in EVERYONE}
        self.exercises: dict[UUID, bool] = {}  # Of every submission.
        self.decided: set[UUID] = set()  # Of which the gateway's answer was shown.
        self.forced: set[UUID] = set()
        self.set_aside: Counter[str] = Counter()
        self.codes: set[str] = set()

    def run(self, work: Awaitable[ResultT]) -> ResultT:
        async def bounded() -> ResultT:
            async with must_come(STEP_S, lambda: f"a step is not over: {work}"):
                return await work

        return self.runner.run(bounded())

    @initialize(target=members)
    def begin(self) -> MultipleResults[str]:
        self.context = opened_stage(self.folder)
        self.stage: Stage = self.run(self.context.__aenter__())
        return multiple(*FOUNDERS)

    def teardown(self) -> None:
        try:
            if hasattr(self, "stage"):
                self.settle()
                self.run(self._check_log())
        finally:
            if hasattr(self, "stage"):
                self.run(self.context.__aexit__(None, None, None))
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def settle(self) -> None:
        """Let all that is open come to its end, and look.

        Suspensions are lifted meanwhile: nobody hears what a suspended member has received.
        """
        suspended = sorted(self.suspended) if self.open else []
        self.suspended -= set(suspended)
        for code in suspended:
            self._change_under_way(code)
        self.run(self._settle())
        self.suspended |= set(suspended)
        for code in suspended:
            self._publish(code)

    # --- what members do ---

    @precondition(lambda self: len(self.suspended) < len(self.stage.members))
    @rule(data=st.data(), each=st.lists(st.booleans(), min_size=1, max_size=3))
    def a_member_sends(self, data: st.DataObject, each: list[bool]) -> None:
        there = self.stage.members
        sender = data.draw(st.sampled_from([code for code in there if code not in self.suspended]))
        others = st.sampled_from([code for code in there if code != sender])
        self.run(self.stage.start(sender))
        for exercise in each:
            self._send(sender, data.draw(st.sets(others, min_size=1)), exercise=exercise)

    @precondition(lambda self: self.suspended)
    @rule(data=st.data())
    def a_suspended_member_sends_past_its_own_node(self, data: st.DataObject) -> None:
        sender = data.draw(st.sampled_from(sorted(self.suspended)))
        self.run(self._force(sender, "member-suspended"))

    @precondition(lambda self: self._pairs_past_a_policy())
    @rule(data=st.data())
    def a_member_sends_past_its_own_node_against_a_policy(self, data: st.DataObject) -> None:
        """Its own node would not; the gateway's verdict alone stands between them."""
        sender, to, why = data.draw(st.sampled_from(self._pairs_past_a_policy()))
        self.run(self._force(sender, why, (to,)))

    # --- what members and the region decide ---

    @precondition(lambda self: JOINER not in self.stage.members)
    @rule(target=members)
    def another_member_joins_while_alerts_are_under_way(self) -> str:
        self.run(self.stage.join())
        return JOINER

    @rule(code=members, direction=directions)
    def a_policy_changes(self, code: str, direction: str) -> None:
        self.settle()
        self.closed[direction] ^= {code}
        self._publish(code)

    @rule(code=members, direction=directions)
    def a_policy_changes_while_alerts_are_under_way(self, code: str, direction: str) -> None:
        self.closed[direction] ^= {code}
        self._change_under_way(code)

    @rule(code=members)
    def two_members_suspend_another_while_alerts_are_under_way(self, code: str) -> None:
        self.suspended ^= {code}
        self._change_under_way(code)

    @rule(code=members)
    def two_members_suspend_another_or_lift_it(self, code: str) -> None:
        self.settle()
        self.suspended ^= {code}
        self._publish(code)
        if code in self.suspended:
            self.run(self._force(code, "member-suspended"))

    @rule(code=members)
    def a_member_rotates_its_signing_key_while_alerts_are_under_way(self, code: str) -> None:
        self.run(self.stage.rotate(code, self._told(code)))

    @rule(code=members)
    def a_member_begins_an_epoch_while_alerts_are_under_way(self, code: str) -> None:
        self.run(self.stage.begin_epoch(code, self._told(code)))

    @rule(code=members)
    def an_officer_leaves_while_what_he_signed_is_under_way(self, code: str) -> None:
        self.stage.replace_officer(code, self._told(code))
        for each in self.open:
            if each.sender == code:
                for to, may in each.may.items():
                    may.add(False)
                    each.why[to].add("officer-revoked")

    @rule()
    def the_gateway_rotates_its_key_while_alerts_are_under_way(self) -> None:
        self.run(self.stage.rotate_gateway())

    @rule(code=members)
    def two_members_suspend_anothers_key_and_it_takes_a_new_one(self, code: str) -> None:
        self.settle()
        self.stage.cut_key(code, self._told(code))
        whole = code in self.suspended
        self.run(self._force(code, "member-suspended" if whole else "key-revoked"))
        self.run(self.stage.rotate(code, self._told(code)))

    # --- what goes wrong ---

    @rule(name=st.one_of(st.sampled_from((GATEWAY, LOG)), members))
    def something_stops_or_starts(self, name: str) -> None:
        stopped = name not in self.stage.stops
        self.run(self.stage.start(name) if stopped else self.stage.stop(name))

    @rule()
    def the_log_stops_wherever_it_is_and_recovers(self) -> None:
        self.run(self.stage.stop(LOG))
        self.run(self.stage.start(LOG))

    @rule()
    def the_hub_is_killed_and_starts_again(self) -> None:
        self.run(self.stage.hub.restart())

    @rule()
    def all_settles_and_the_log_is_read(self) -> None:
        self.settle()
        self.run(self._check_log())

    # --- what must hold ---

    def _send(self, sender: str, to: set[str], *, exercise: bool = False) -> None:
        kept = self.run(self.stage.send(sender, sorted(to), exercise=exercise))
        self.exercises[kept.submission_id] = exercise
        may = {code: {self._arrives(sender, code)} for code in to}
        why = {code: self._against(sender, code) for code in to}
        self.open.append(UnderWay(sender, kept.submission_id, exercise, may, why))

    def _arrives(self, sender: str, code: str) -> bool:
        return not self._against(sender, code)

    def _against(self, sender: str, code: str) -> set[str]:
        stands = {
            "policy-export-default": sender in self.closed["export"],
            "policy-import-default": code in self.closed["import"],
            "member-suspended": bool({sender, code} & self.suspended),
        }
        return {why for why, so in stands.items() if so}

    def _change_under_way(self, code: str) -> None:
        self._publish(code)
        for each in self.open:
            for to, may in each.may.items():
                may.add(self._arrives(each.sender, to))
                each.why[to] |= self._against(each.sender, to)

    def _told(self, code: str) -> Rules:
        return Rules(
            takes=code not in self.closed["import"],
            gives=code not in self.closed["export"],
            suspended=code in self.suspended,
        )

    def _publish(self, code: str) -> None:
        self.stage.publish(code, self._told(code))

    def _pairs_past_a_policy(self) -> list[tuple[str, str, str]]:
        """Who may not send to whom, by one policy alone, and the code that says so."""
        there = [code for code in self.stage.members if code not in self.suspended]
        found = []
        for sender, to in permutations(there, 2):
            against = self._against(sender, to)
            if len(against) == 1:
                found.append((sender, to, *against))
        return found

    async def _force(self, sender: str, why: str, to: Iterable[str] = ()) -> None:
        await self.stage.start(GATEWAY)
        there = (code for code in self.stage.members if code not in self.suspended)
        to = tuple(to) or tuple(code for code in there if code != sender)
        if not to:
            return  # nobody is left whose key could be sealed to
        ident, codes = await self.stage.force(sender, to, len(self.forced) + 1)
        assert codes == {why}
        self.forced.add(ident)

    async def _settle(self) -> None:
        """Let everything run, wait until all that is open is over, and look into every inbox."""
        await self.stage.start_all()
        for each in self.open:
            last = await self.stage.until_over(each.sender, each.submission_id)
            states = {outcome.recipient: outcome.state for outcome in last.recipients}
            for outcome in last.recipients:
                if outcome.state is RecipientState.REFUSED:
                    assert outcome.refused_by in {"node", "gateway", "recipient"}
                    assert outcome.code in each.why[outcome.recipient], (outcome, each)
                if outcome.refused_by == "recipient":
                    assert outcome.code in ASIDE
                    self.codes.add(f"quarantined-{outcome.code}")
                    self.set_aside[outcome.recipient] += 1
            came = {code for code, state in states.items() if state is RecipientState.DELIVERED}
            for code, may in each.may.items():
                assert (code in came) in may, (code, states[code], may)
                if code not in came:
                    stopped = last.state is SubmissionState.NEEDS_ATTENTION
                    assert stopped or states[code] is RecipientState.REFUSED
                else:
                    self.expected[code].append((last.alert_id, each.exercise))
            if came or any(each.refused_by == "gateway" for each in last.recipients):
                assert last.id is not None
                self.decided.add(last.id)
        self.open.clear()
        for code in self.stage.members:
            await self._check_inbox(code)

    async def _check_inbox(self, code: str) -> None:
        node, wanted = self.stage.nodes[code], self.expected[code]
        held = [(each.alert_id, each.exercise) for each in (await node.inbox(limit=500)).items]
        assert sorted(held, key=str) == sorted(wanted, key=str)
        status = await node.status()
        assert status.gaps == ()
        assert status.quarantined == self.set_aside[code]
        assert {alarm.code for alarm in status.alarms} <= self.codes
        exercises = sum(exercise for _, exercise in wanted)
        assert (status.inbox, status.exercise_inbox) == (len(wanted) - exercises, exercises)

    async def _check_log(self) -> None:
        """One leaf for each decision, refusals included, and none that nobody decided."""
        leaves: dict[UUID, list[LeafKind]] = await self.stage.leaves()
        alerts, controls = await self.stage.decided()
        assert self.decided <= alerts.keys()
        wanted = {
            ident: [LeafKind.EXERCISE if self.exercises[of] else LeafKind.DECISION]
            for ident, of in alerts.items()
        } | {ident: [LeafKind.DECISION] for ident in self.forced}
        assert {ident: kinds for ident, kinds in leaves.items() if ident not in controls} == wanted
        assert all(len(kinds) == 1 for kinds in leaves.values())


def drive(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    run_state_machine_as_test(
        Region,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Outages are not the same twice, and a smaller example of one costs minutes to find.
            phases=(Phase.reuse, Phase.generate),
        ),
    )


@pytest.mark.hub
@pytest.mark.timeout(600)
def test_what_an_officer_signed_who_left_before_it_was_decided_is_set_aside() -> None:
    """One history by hand, which few that are drawn come by."""
    region = Region()
    region.begin()
    try:
        region.run(region.stage.nodes["SG"].link.wait_connected())
        region.something_stops_or_starts(GATEWAY)
        region._send("SG", {"MY", "TH"})
        region.an_officer_leaves_while_what_he_signed_is_under_way("SG")
        region.two_members_suspend_anothers_key_and_it_takes_a_new_one("MY")
        assert not region.open
        region._send("SG", {"MY"})
        region.a_member_begins_an_epoch_while_alerts_are_under_way("MY")
        region.the_gateway_rotates_its_key_while_alerts_are_under_way()
        region.all_settles_and_the_log_is_read()
        assert len(region.expected["MY"]) == 1
        assert len(region.forced) == 1
    finally:
        region.teardown()
    assert region.set_aside == {"MY": 1, "TH": 1}


@pytest.mark.hub
@pytest.mark.timeout(600)
def test_what_is_refused_has_a_leaf_too_and_a_log_that_stopped_goes_on() -> None:
    """Another one: refused by the gateway's policy alone, while the log comes and goes."""
    region = Region()
    region.begin()
    try:
        region.a_policy_changes("TH", "import")
        region._send("SG", {"MY", "TH"}, exercise=True)
        region.run(region._force("SG", "policy-import-default", ("TH",)))
        region.a_policy_changes("MY", "export")
        region._send("MY", {"SG"})  # refused by its own node
        region.run(region._force("MY", "policy-export-default", ("SG",)))
        region.the_log_stops_wherever_it_is_and_recovers()
        region.all_settles_and_the_log_is_read()
        region.a_policy_changes("MY", "export")
        region.something_stops_or_starts(LOG)
        region._send("MY", {"SG"})
        region.all_settles_and_the_log_is_read()
        assert (len(region.forced), len(region.decided)) == (2, 2)
    finally:
        region.teardown()


@pytest.mark.hub
@pytest.mark.timeout(600)
def test_who_joins_takes_part_and_what_is_under_way_is_not_hindered() -> None:
    """A third one."""
    region = Region()
    region.begin()
    try:
        region.something_stops_or_starts(GATEWAY)
        region._send("SG", {"MY"})
        region.another_member_joins_while_alerts_are_under_way()
        region._send("SG", {"MY", JOINER})
        region._send(JOINER, {"TH"}, exercise=True)
        region.all_settles_and_the_log_is_read()
        region.two_members_suspend_another_or_lift_it(JOINER)
        came = {code: len(each) for code, each in region.expected.items()}
        assert came == {"SG": 0, "MY": 2, "TH": 1, JOINER: 1}
        assert (len(region.forced), len(region.decided)) == (1, 3)
    finally:
        region.teardown()


@pytest.mark.hub
@pytest.mark.timeout(3600)
def test_the_region_does_what_the_model_says() -> None:
    drive(10, 20)


@pytest.mark.hub
@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_the_region_does_what_the_model_says_for_longer() -> None:
    drive(DEEP, 40)
