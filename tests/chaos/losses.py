"""Takes away what was there, and makes it good as an operator does: by the runbook's commands.

A node put back from an older backup, a bit that flips in its database, an inbox that somebody
empties at the hub, the hub's record of decisions. Peers hand in again what a node lacks; who sends
without a node of ours cannot.
"""

import asyncio
import random  # noqa: TID251 - seeded, so that a run can be repeated
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from broker import clock
from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError, Client, Submission
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX, inbox_of
from broker.transport.streamstates import consumers_of, stream_states
from schemas.desk import DraftRequest
from schemas.desk import Submission as Outcome
from schemas.vocabulary import Lane
from tests.backup.test_node_backup import long_ago
from tests.chaos.misfortune import SOUND_S, Misfortune, events, hub_said
from tests.chaos.ondisk import column, flip_one, serving
from tests.chaos.plan import Fault, Mishap
from tests.chaos.readers import Readers
from tests.chaos.rogue import MEMBER
from tests.cli.test_ceremonies import run
from tests.faults.test_kills import again_later
from tests.support.processes import descendants, kill_child, looked
from tests.support.waiting import must_come, until

LANES = (Lane.URGENT, Lane.NORMAL, Lane.EXERCISE)
NOTICED = 2  # messages taken out of an inbox: one may be what the hub itself had in hand as expired
HEARD_S = 15.0  # a pair-state is there within this, or was lost and is told again
REJOIN_S = 600.0
READ_S = 240.0  # workers begin, and the log starts anew after a wrong clock
RECORD_ALARMS = ("record-lost", "stream-reset", "stream-went-back")
QUEUES = ("SUBMIT_", "INBOX_", "HELD_", "RECEIPT_")
UNREAD = (f"RECEIPT_{MEMBER}", f"INBOX_{MEMBER}_")
"""It has no inbox, and stops reading receipts once it knows what was decided."""


@dataclass
class Desk:
    """Where the alerts of one member are written.

    Attributes:
        at_work: Held while one is handed to the node; its operator lets it wait.
        wrote: What was asked for, by alert.
        told: What it was told in the end of those its node has forgotten.
    """

    client: Client
    at_work: asyncio.Lock = field(default_factory=asyncio.Lock)
    sent: list[Submission] = field(default_factory=list)
    wrote: dict[UUID, DraftRequest] = field(default_factory=dict)
    told: dict[UUID, Outcome] = field(default_factory=dict)

    async def last_told(self) -> None:
        """Return once each alert has come to its end, as the node says that is to forget it."""
        for submission in self.sent:
            ident = submission.submission_id
            while ident not in self.told:
                try:
                    shown = (await self.client.status(ident)).shown
                except BrokerError as error:
                    await again_later(error)
                    continue
                if all(each.state.final for each in shown.recipients):
                    self.told[ident] = shown
                else:
                    await asyncio.sleep(0.1)


@dataclass
class Losses:
    """What can be lost, one at a time.

    Attributes:
        begun: How many alerts were sent, or are about to be.
        waiting: Queues that hold what may come again, as last seen.
    """

    misfortune: Misfortune
    region: DemoRegion
    desks: dict[str, Desk]
    readers: Readers
    begun: int = 0
    waiting: list[str] = field(default_factory=list)

    async def happen(self, mishap: Mishap, ready: asyncio.Event) -> None:
        """Carry out one, and return once all is there again.

        Args:
            mishap: One of `LOSSES`.
            ready: Set once what is sent from then on will be lost; desks wait until it is.
        """
        self.misfortune.met.add(mishap.victim)
        async with self.misfortune.calm:
            match mishap.fault:
                case Fault.RECORD:
                    await self._record_lost(ready)
                case Fault.PURGE:
                    await self._comes_again(mishap.victim, await self._purged(mishap.victim, ready))
                case _:
                    await self._comes_again(mishap.victim, await self._put_back(mishap, ready))
        self.misfortune.done[f"{mishap.fault}"] += 1

    # --- a backup put back ---

    async def _put_back(self, mishap: Mishap, ready: asyncio.Event) -> set[str]:
        """Put a node back from an older backup; return the alerts that it had and lacks now."""
        code, home = mishap.victim, self.region.home(mishap.victim)
        backup = self.region.folder / f"{code}-{mishap.after}.tar"
        async with self.misfortune.alone(code):
            await self._command(home, "node", "backup", "--to", str(backup))
        then = self._has(code)
        ready.set()
        while self.begun < mishap.after + mishap.lost_after or self._has(code) == then:  # noqa: ASYNC110 - traffic
            await asyncio.sleep(0.1)
        desk = self.desks[code]
        async with desk.at_work:  # what nobody but this node has would be lost with its disk
            await desk.last_told()
            async with self.misfortune.alone(code), self.readers.anew(code):
                await self.misfortune.processes.kill(code)
                before = self._has(code)
                if mishap.fault is Fault.FLIP:
                    await self._flip(code, mishap.draw)
                (home / "node").rename(home / f"lost-{mishap.after}")
                await self._command(home, "node", "restore", str(backup))
                lacking = before - self._has(code)
                await self.misfortune.processes.start_node(code)
        return lacking

    async def _flip(self, code: str, draw: int) -> None:
        """Flip a bit of the node's database, and see that the node ends by it."""
        order = random.Random(draw)  # noqa: S311 - not for a secret
        await asyncio.to_thread(flip_one, self._database(code), order)
        log = self.region.folder / f"{code}.log"
        before = log.stat().st_size
        processes = self.misfortune.processes
        with suppress(BrokerError):  # it may end before it is ready
            await processes.start_node(code)
        async with must_come(SOUND_S, lambda: f"{code} did not end by a flipped bit"):
            assert await processes._running.pop(code).wait()
        assert b"database-damaged" in log.read_bytes()[before:]
        self.misfortune.sounded["database-damaged"] += 1
        self.misfortune.damaged.add(code)

    # --- an inbox emptied ---

    async def _purged(self, code: str, ready: asyncio.Event) -> set[str]:
        """Empty one lane of an inbox while its node is away; return the alerts that were in it."""
        alone = self.misfortune.alone
        async with alone(code), alone("hub"), self._unharmed(), Link(self._credentials()) as link:
            await self.misfortune.processes.kill(code)
            ready.set()
            async with must_come(SOUND_S, lambda: f"nothing waits for {code}"):
                await link.wait_connected()
                await looked(self.region)
                stream, last, waiting = await _fullest(link, code)
            since = self._said()
            await link.api(f"STREAM.PURGE.{stream}", {"seq": last + 1})
            await self._hub_says("stream-went-back", stream, since=since)
            await self._command(self.region.hub, "hub", "status", "--looked-into")
            await self.misfortune.processes.start_node(code)
        return waiting

    async def _hub_says(self, alarm: str, stream: str, *, since: int) -> None:
        """Return once a line of the hub's, behind so many others, has both."""
        async with must_come(SOUND_S, lambda: f"the hub never said {alarm} of {stream}"):
            while not any(  # noqa: ASYNC110 - another process
                f'"alarm": "{alarm}"' in line and stream in line for line in self._hub_log()[since:]
            ):
                await asyncio.sleep(0.1)
        self.misfortune.sounded[alarm] += 1

    def _said(self) -> int:
        return len(self._hub_log())

    def _hub_log(self) -> list[str]:
        return hub_said(self.region)

    # --- the record of decisions lost ---

    async def _record_lost(self, ready: asyncio.Event) -> None:
        """Make the stream of decisions anew while nothing is under way, and go on behind it.

        What the log had not read would be forgotten, and what waited for its receipt decided anew
        under another id: so all desks wait until the log has proved all that was decided.
        """
        stream = f"{AUDIT_PREFIX}{clock.now().year}"
        hub = self.misfortune.alone("hub")
        async with hub, self._unharmed(), Link(self._credentials()) as link:
            await link.wait_connected()
            async with AsyncExitStack() as pause:
                for desk in self.desks.values():
                    await pause.enter_async_context(desk.at_work)
                    await desk.last_told()
                await self._nothing_under_way(link)
                read = partial(self._all_is_read, link, stream)
                await until(read, READ_S, lambda: f"the log does not read all of {stream}")
                since = self._said()
                config = (await link.api(f"STREAM.INFO.{stream}", {}))["config"]
                await link.api(f"STREAM.DELETE.{stream}", {})
                await link.api(f"STREAM.CREATE.{stream}", config)
            ready.set()
            for alarm in RECORD_ALARMS:
                await self._hub_says(alarm, stream, since=since)
            await self._command(self.region.hub, "log", "resume", "--stream-reset")
            await self._hub_says("resumed-after-reset", stream, since=since)
            await self._command(self.region.hub, "hub", "status", "--looked-into")

    async def queues_empty(self) -> None:
        """Return once nobody has anything to take, nor to acknowledge, that may come again."""
        async with Link(self._credentials()) as link:
            await link.wait_connected()
            while True:
                self.waiting = [
                    name
                    for name, state in (await stream_states(link)).items()
                    if state.messages
                    and name.startswith(QUEUES)
                    and not name.startswith(UNREAD)
                    and await _to_be_read(link, name)
                ]
                if not self.waiting:
                    return
                await asyncio.sleep(0.1)

    async def _nothing_under_way(self, link: Link) -> None:
        """Return once each node has a proof of all that it handed in, and nothing else waits."""
        for code, desk in self.desks.items():
            while True:
                try:
                    log = (await desk.client.node_status()).log
                except BrokerError as error:
                    await again_later(error)
                    continue
                waiting = column(self._database(code), "SELECT id FROM outbox")
                if log is not None and not (waiting or log.own_waiting or log.own_overdue):
                    break
                await asyncio.sleep(0.2)
        while True:  # what the member without a node handed in is decided, too
            states = await stream_states(link, "submit.>")
            if not any([s.messages and await _to_be_read(link, n) for n, s in states.items()]):
                return
            await asyncio.sleep(0.1)

    async def _all_is_read(self, link: Link, stream: str) -> bool:
        """Whether the log has all of the record, and each worker's word that it began.

        A number of which the log knows nothing is voided by it later, and that auditors ask about.
        """
        database = LedgerPlace(self.region.hub).folder / "log.db"
        query = "SELECT next_seq FROM log_streams WHERE name = ?"
        last = (await stream_states(link, "audit.>"))[stream].last_seq
        alive = descendants(self.misfortune.processes.pids()["hub"])
        read = column(database, query, stream) == {last + 1}
        return read and serving(events(self._hub_log()), alive)

    # --- and all that was lost comes again ---

    async def _comes_again(self, code: str, lacking: set[str]) -> None:
        assert lacking
        shown = False
        async with must_come(
            REJOIN_S, lambda: f"{lacking - self._has(code)} never came again to {code}"
        ):
            while lacking - self._has(code):
                shown |= await self._a_quarter_of_an_hour_goes_by(code, lacking)
        told = self.misfortune.sounded if shown else self.misfortune.unneeded
        told["gap"] += 1

    async def _a_quarter_of_an_hour_goes_by(self, code: str, lacking: set[str]) -> bool:
        """Let peers say what a node must have, and the node a quarter of an hour later ask for it.

        Returns whether the node showed that something is lacking.

        The server is killed: it forgets the ids of its window, as it does after two minutes. Those
        of a cluster are told to, since one that is killed hears of them from the others.
        """
        if self.misfortune.servers is not None:
            await self.misfortune.servers.forget(code)
        else:
            async with self.misfortune.alone("hub"):
                kill_child(self.misfortune.processes, "nats-server")
        async with asyncio.TaskGroup() as group:
            for peer in self.desks.keys() - {code}:
                group.create_task(self._started_later(peer))
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_S):
                while len(self._gaps(code)) < len(lacking - self._has(code)):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        gaps = self._gaps(code)
        long_ago(self.region.home(code))
        shown = await self._shows_any(code, gaps)
        await self._started_later(code)
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_S):
                while lacking - self._has(code):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        return shown

    async def _shows_any(self, code: str, gaps: set[str]) -> bool:
        """Whether the node showed that something is lacking: it must, unless it came meanwhile."""
        async with must_come(SOUND_S, lambda: f"{code} never showed that it lacks {gaps}"):
            while gaps & self._gaps(code):
                try:
                    if (await self.desks[code].client.node_status()).gaps:
                        return True
                except BrokerError as error:  # it was killed this moment
                    await again_later(error)
                await asyncio.sleep(0.1)
        return False

    async def _started_later(self, code: str) -> None:
        async with self.misfortune.alone(code):
            await self.misfortune.processes.kill(code)
            long_ago(self.region.home(code))
            await self.misfortune.processes.start_node(code)

    # --- where all of it lies ---

    def _unharmed(self) -> AbstractAsyncContextManager[None]:
        servers = self.misfortune.servers
        return nullcontext() if servers is None else servers.unharmed()

    def _credentials(self) -> Credentials:
        hub = HubPlace(self.region.hub)
        return hub.open_hub(self.region.passphrase).hub_credentials(hub, hub.config())

    def _database(self, code: str) -> Path:
        return self.region.home(code) / "node" / "node.db"

    def _has(self, code: str) -> set[str]:
        """The alerts in a node's inbox, by their envelopes' ids."""
        return column(self._database(code), "SELECT id FROM inbox")

    def _gaps(self, code: str) -> set[str]:
        return column(self._database(code), "SELECT peer || number FROM gaps")

    async def _command(self, home: Path, *words: str) -> None:
        done = await asyncio.to_thread(run, self.region, home, *words)
        assert done.returncode == 0, done.stderr


async def _to_be_read(link: Link, stream: str) -> bool:
    """Whether somebody will be given something of it.

    Who acknowledges while the server's disk is full may find it there again: nobody is given it.
    """
    readers = await consumers_of(link, stream)
    return any(each["num_pending"] or each["num_ack_pending"] for each in readers)


async def _fullest(link: Link, code: str) -> tuple[str, int, set[str]]:
    """The fullest lane of an inbox, once enough waits: its stream, last number, envelopes' ids."""
    while True:
        found = []
        for lane in LANES:
            stream = inbox_of(code, lane)
            consumer = await link.api(f"CONSUMER.INFO.{stream}.{lane}", {})
            found.append((consumer["num_pending"], stream))
        pending, stream = max(found)
        if pending >= NOTICED:
            state = (await link.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"]
            return stream, state["last_seq"], {each.split(".")[-1] for each in state["subjects"]}
        await asyncio.sleep(0.1)
