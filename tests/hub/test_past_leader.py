"""A server that was cut off from the others still takes itself for a leader; nobody believes it.

A gateway, the log, or the hub may come to it from another server, which the same trouble on the
line took from them. What they know is newer then than what it shows, and nothing went back.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker import clock
from broker.cli.demo.region import found
from broker.gateway.audit_watch import AuditWatch
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.streams import years_at
from broker.transport.streamstates import leads, stream_state, stream_states
from tests.chaos.servers import tended_servers
from tests.hub.test_cluster_servers import asked_of, led_by
from tests.support.cluster import BOUND_S, steady

APART, OTHERS = "hub-1", ("hub-2", "hub-3")
LONG_AGO = 5 * 10**9  # nanoseconds


@pytest.mark.parametrize(
    ("cluster", "believed"),
    [
        ({}, True),  # a server alone
        ({"leader": "a", "replicas": []}, True),
        ({"leader": "a", "replicas": [{"active": 1}, {"active": 1}]}, True),
        ({"leader": "a", "replicas": [{"active": 1}, {"active": LONG_AGO}]}, True),
        ({"leader": "a", "replicas": [{"active": LONG_AGO}, {"active": LONG_AGO}]}, False),
        ({"replicas": [{"active": 1}, {"active": 1}, {"active": 1}]}, False),
        ({"leader": "a", "replicas": [{"active": 1}, *[{"active": LONG_AGO}] * 3]}, False),
        ({"leader": "a", "replicas": [*[{"active": 1}] * 2, *[{"active": LONG_AGO}] * 2]}, True),
    ],
)
def test_a_leader_is_believed_that_heard_of_most(
    cluster: dict[str, Any], *, believed: bool
) -> None:
    assert leads({"cluster": cluster}) is believed


@pytest.mark.processes
@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_what_a_server_shows_that_leads_no_more_is_not_believed(tmp_path: Path) -> None:
    region = await asyncio.to_thread(found, tmp_path / "r", nodes=("SG", "MY"), servers=3)
    async with (
        asyncio.timeout(BOUND_S * 2),
        tended_servers(region) as servers,
        Link(servers.system_at(APART)) as system,
        Link(servers.hub_at(APART)) as apart,
        Link(servers.at(*OTHERS)) as others,
    ):
        await servers.enrolled(system, apart)
        watch = AuditWatch(others, lambda: bytes(32))
        audit = await led_from_apart(system, apart)
        await stored(others, 1)
        await apart.wait_connected()
        with servers.apart(APART):
            await stored(others, 2)  # once they elected
            await steady(watch.look)
            assert watch.may_judge
            believed = await apart.api(f"STREAM.INFO.{audit}", {})
            assert (believed["state"]["last_seq"], believed["cluster"]["leader"]) == (1, APART)
            assert (await steady(lambda: stream_state(others, audit))).last_seq == 2
            with pytest.raises(Unreachable):
                await stream_state(apart, audit)
            watch.link = apart  # as a gateway that comes to it
            with pytest.raises(Unreachable):
                await watch.look()
            assert watch._held == set()
        while (await steady(lambda: stream_state(apart, audit))).last_seq != 2:  # noqa: ASYNC110 - it catches up
            await asyncio.sleep(0.1)
        await steady(watch.look)
        assert watch.may_judge


async def led_from_apart(system: Link, apart: Link) -> str:
    """Have that server lead the streams of decisions, and answer for the cluster."""
    years = [f"AUDIT_{year}" for year in years_at(clock.now())]
    for name in years:
        await led_by(apart, APART, name)
    await asked_of(system, APART)
    await steady(lambda: stream_states(apart, "audit.>"))
    return f"AUDIT_{clock.now().year}"


async def stored(link: Link, number: int) -> None:
    subject = f"audit.{clock.now().year}.{number}"
    await steady(lambda: link.publish_acked(subject, b"x", msg_id=subject))
