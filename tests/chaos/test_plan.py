"""The plan is the same for the same seed, and has what it must, on one server and on three."""

import pytest

from tests.chaos.plan import (
    AT_THE_HUB,
    HUB_FAULTS,
    KINDS,
    SERVER,
    SERVERS,
    WRITERS,
    Fault,
    Mishap,
    kind_of,
    mishaps,
)
from tests.chaos.servers import NAMES

NODES = ("SG", "MY")


def planned(seed: int, *servers: str) -> list[Mishap]:
    return mishaps(seed, alerts=60, kills=6, nodes=NODES, losers=NODES, servers=servers)


@pytest.mark.parametrize("servers", [(), NAMES])
def test_a_seed_gives_the_same_plan_again(servers: tuple[str, ...]) -> None:
    assert planned(1, *servers) == planned(1, *servers) != planned(2, *servers)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("servers", [(), NAMES])
def test_a_kill_meets_one_of_each_kind(seed: int, servers: tuple[str, ...]) -> None:
    killed = {each.victim for each in planned(seed, *servers) if each.fault is Fault.KILL}
    assert {kind_of(victim, nodes=NODES, servers=servers) for victim in killed} == {*KINDS}


@pytest.mark.parametrize("seed", range(20))
def test_each_disk_and_clock_at_the_hub_is_met(seed: int) -> None:
    found = {(each.fault, each.victim) for each in planned(seed)}
    assert {pair for pair in found if pair[0] in HUB_FAULTS} == {*AT_THE_HUB}
    assert {*WRITERS} <= {each.victim for each in planned(seed) if each.fault is Fault.FULL}


@pytest.mark.parametrize("seed", range(20))
def test_on_three_servers_a_kill_meets_one_and_each_fault_of_theirs_happens(seed: int) -> None:
    one, three = planned(seed), planned(seed, *NAMES)
    killed = {each.victim for each in three if each.fault is Fault.KILL}
    assert killed & {*NAMES}
    assert SERVER not in killed
    assert {each.fault for each in three} == {*Fault} - HUB_FAULTS
    assert {each.fault for each in one} == {*Fault} - {*SERVERS}
    assert {each.victim for each in one}.isdisjoint(NAMES)
