"""A region in which Singapore has no link, with a ferry between it and the hub."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion, found
from broker.cli.demo.story import desks
from broker.client import Client, Submission
from broker.ledger.place import LedgerPlace
from broker.log.checkpoint import parse_checkpoint
from broker.log.note import parse_note
from broker.store.tilefiles import COSIGNED
from schemas.desk import RecipientState
from tests.support.processes import warning

NODES = ("SG", "MY", "VN")


@dataclass
class Crossing:
    """What runs, and the commands that a person types at either end."""

    region: DemoRegion
    processes: Processes
    clients: dict[str, Client]
    ferry: Path
    trips: int = 0

    async def carry(self, home: Path, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `kentong carry`; return its exit code and the JSON that it printed."""
        secret = ("--passphrase-file", str(self.region.passphrase_file))
        code, text = await self.processes.command(
            "--home", str(home), "carry", *words, *secret, "--json"
        )
        (line,) = [line for line in text.splitlines() if line.startswith('{"schema"')] or ["{}"]
        return code, json.loads(line) or {"text": text}

    async def at_node(self, *words: str) -> dict[str, Any]:
        return await self._well(self.region.home("SG"), *words)

    async def at_ferry(self, *words: str) -> dict[str, Any]:
        return await self._well(self.ferry, *words)

    async def _well(self, home: Path, *words: str) -> dict[str, Any]:
        code, found = await self.carry(home, *words)
        assert code == 0, found
        return found

    def file(self, name: str) -> Path:
        return self.region.folder / f"{self.trips}-{name}.carry"

    async def to_hub(self) -> Path:
        self.trips += 1
        file = self.file("to-hub")
        await self.at_node("out", "--to", str(file))
        await self.at_ferry("in", str(file))
        return file

    async def to_node(self) -> dict[str, Any]:
        self.trips += 1
        file = self.file("to-node")
        await self.at_ferry("out", "--to", str(file))
        return await self.at_node("in", str(file))

    async def send(self, code: str, number: int, to: tuple[str, ...]) -> Submission:
        return await self.clients[code].send(warning(number, to))

    async def inbox(self, code: str) -> Counter[str]:
        page = await self.clients[code].inbox(limit=100)
        return Counter(str(item.alert_id) for item in page.items)

    async def states(self, code: str, submission: Submission) -> set[RecipientState]:
        found = await self.clients[code].status(submission.id)
        return {each.state for each in found.recipients}

    async def cosigned(self) -> bool:
        """Whether witnesses cosigned any leaf, so that there is one to carry."""
        note = LedgerPlace(self.region.hub).files.raw(COSIGNED)
        return note is not None and parse_checkpoint(parse_note(note).text).size > 0


@asynccontextmanager
async def crossing(folder: Path, *, log: bool = False) -> AsyncIterator[Crossing]:
    """A hub and three nodes, of which Singapore's reaches the hub by file alone."""
    region = await asyncio.to_thread(found, folder, log=log, nodes=NODES, unlinked=("SG",))
    hub = NodePlace(region.home("MY")).config().hub_url
    processes = Processes(region)
    stage = Crossing(region, processes, {}, folder / "ferry")
    try:
        await processes.start_hub()
        async with asyncio.TaskGroup() as group:
            group.create_task(processes.start_node("MY"))
            group.create_task(processes.start_node("VN"))
            group.create_task(stage.at_node("ferry", "--to", str(stage.ferry), "--hub", hub))
        await stage.to_node()  # the directory, without which no desk can write anything
        await processes.start_node("SG")
        async with desks(region) as clients:
            stage.clients = clients
            yield stage
    finally:
        await processes.stop()
