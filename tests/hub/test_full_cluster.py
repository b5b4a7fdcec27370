"""One of three servers meets a full disk: the other two take all, and the hub says which it is."""

import asyncio
from pathlib import Path

import pytest

from broker import clock
from broker.hub.pulse import Pulse
from broker.hub.storewatch import StoreWatch
from broker.transport.link import Link
from broker.transport.servertime import MOST, server_time
from tests.support.cluster import BOUND_S, linked_servers, steady, whole
from tests.support.fulldisk import may_grow, no_growth

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(240)]
STREAM = "SUBMIT_MY"


async def test_the_one_without_room_is_named_until_it_is_started_anew(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(tmp_path / "r") as (cluster, system, hub),
        Link(cluster.member_at("MY", "hub-3")) as member,
    ):
        await whole(hub, STREAM)
        assert abs(await server_time(hub) - clock.now()) < MOST
        pulse = Pulse()
        watch = StoreWatch(system, tuple(each.name for each in cluster.config.cluster), pulse)
        await watch.look()
        assert pulse.not_storing == frozenset()
        pid = cluster.running["hub-2"].pid
        assert pid is not None
        no_growth(pid)
        number = 0
        while "hub-2" not in pulse.not_storing:
            number += 1
            subject = f"submit.MY.normal.{number}"
            await steady(
                lambda subject=subject: member.publish_acked(subject, bytes(8192), msg_id=subject)
            )
            await watch.look()
        may_grow(pid)
        await watch.look()
        assert pulse.not_storing == {"hub-2"}
        await cluster.restart("hub-2")
        while pulse.not_storing:
            await watch.look()
        kept = await whole(hub, STREAM)
        assert kept["state"]["messages"] == number
