"""Watches the servers of a cluster: nobody starts them here, and one that is lost stops nothing.

That is why it must be said: the next one would stop everything. Their certificates are read where
they are shown, since a file that was renewed here may never have been carried there.
"""

import asyncio
from typing import Final

from broker.errors import BrokerError
from broker.hub.clusterserver import ClusterServer
from broker.hub.place import HubPlace
from broker.hub.pulse import Pulse, ServerSeen
from broker.hub.settings import HubConfig
from broker.logs import get_logger
from broker.transport.greeting import shown_until

WATCH_S: Final = 15.0  # a rule of alarm waits for two minutes
_log = get_logger()


async def look_at_servers(place: HubPlace, config: HubConfig, pulse: Pulse) -> None:
    """Call each server of the cluster once, and write down what was seen."""
    async with asyncio.TaskGroup() as group:
        looks = {
            server.name: group.create_task(_seen(place, server, pulse.servers.get(server.name)))
            for server in config.cluster
        }
    found = {name: look.result() for name, look in looks.items()}
    for name, seen in found.items():
        before = pulse.servers.get(name)
        if not seen.up and (before is None or before.up):
            _log.error("server-not-seen", server=name)
    pulse.servers = found


async def keep_looking(place: HubPlace, config: HubConfig, pulse: Pulse) -> None:
    """Call them for ever; a hub without a cluster has none to call."""
    while config.cluster:
        await look_at_servers(place, config, pulse)
        await asyncio.sleep(WATCH_S)


async def _seen(place: HubPlace, server: ClusterServer, before: ServerSeen | None) -> ServerSeen:
    try:
        shown = await shown_until(server.host, server.port, place.believed_pem())
    except (BrokerError, OSError):  # the authority's file too may be gone at this moment
        return ServerSeen(up=False, expires=before.expires if before else None)
    return ServerSeen(up=True, expires=shown)
