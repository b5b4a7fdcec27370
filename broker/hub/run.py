"""Runs a hub: its server, accounts, services, timestamp, and gateway workers beside it."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from broker import clock
from broker.errors import BrokerError
from broker.hub.attachments import AttachmentService
from broker.hub.children import MAX_PAUSE_S, MIN_PAUSE_S, STEADY_S, keep_running
from broker.hub.chunkstore import ChunkStore
from broker.hub.enrolment import Enrolment, wanted
from broker.hub.erased import note_erased, read_erased
from broker.hub.founding import write_server
from broker.hub.memory import read_memory, write_memory
from broker.hub.place import HubPlace, HubSecrets
from broker.hub.pulse import Pulse
from broker.hub.queuewatch import QueueWatch
from broker.hub.serverwatch import keep_looking
from broker.hub.services import MemberServices
from broker.hub.settings import HubConfig
from broker.hub.storewatch import StoreWatch, has_room
from broker.hub.suspensions import Suspensions, read_suspensions
from broker.hub.timekeeping import Timekeeper, shown_by_members, shown_by_witnesses
from broker.hub.unread import UnreadSweep
from broker.log.recordkeys import RecordKeys
from broker.logs import get_logger
from broker.store.chunkfiles import ChunkFiles
from broker.store.scratch import remove_unused
from broker.store.tilefiles import TileFiles
from broker.transport.link import Link
from broker.transport.server import OWN_NAME, Server
from broker.transport.services import Notice
from broker.transport.streams import check_disk, check_room, years_at
from broker.transport.streamstates import streams_seen
from keys.directory.repository import OnlineSigners
from keys.directory.source import LatestDirectory, PublishedDirectory
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from keys.files import write_private

CONNECT_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.5  # how long a revocation published at the hub waits
RESIGN_S: Final = 60.0
RETRY_RESIGN_S: Final = 5.0
RETRY_APPLY_S: Final = 2.0
REMEMBER_S: Final = 10.0
SWEEP_S: Final = 60.0
_log = get_logger()

Command = Callable[[Path, int], Sequence[str]]


@dataclass(frozen=True)
class Ready:
    """What a running hub tells whoever started it."""

    url: str
    members: tuple[str, ...]
    server_pid: int | None


@dataclass
class Hub:
    """One hub. `run` ends only by cancellation, or when the server cannot be had at all.

    Attributes:
        records: Open what the gateways recorded; attached files go to whom a decision let through.
        command: How a gateway worker is started.
        on_ready: Called once members can connect.
        environment: Of the workers; by default this process's own.
        pulse: How the hub is, for whoever watches it.
        tiles: Of the log, if there is one here.
    """

    place: HubPlace
    config: HubConfig
    secrets: HubSecrets
    records: RecordKeys
    online: OnlineSigners
    command: Command
    on_ready: Callable[[Ready], None]
    environment: Mapping[str, str] | None = None
    pulse: Pulse = field(default_factory=Pulse)
    beside: Sequence[Sequence[str]] = ()  # Commands that run as long as the hub does.
    tiles: TileFiles | None = None
    _view: DirectoryView | None = None  # Owned by `_watch`; nobody else writes it.
    _server: Server | None = None
    _suspensions: Suspensions = field(default_factory=Suspensions)  # Owned by `_watch` too.

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            BrokerError: `running-already`, `disk-too-small`, `no-nats-server` or `unreachable`.
            KeysError: The directory or a key does not verify.
        """
        with self.place.locked():
            await asyncio.to_thread(remove_unused, self.place.home)
            await self._run()

    async def _run(self) -> None:
        source = LatestDirectory(PublishedDirectory.at(self.place.home))
        await self._resign(source)
        self._suspensions = read_suspensions(self.place.suspensions_file)
        if self.config.server_disk:
            self._check_servers(self._read(source), now=clock.now())
        server = self._prepared_server(source, now=clock.now()) if self.config.embedded else None
        try:
            async with asyncio.TaskGroup() as group:
                if server is not None:
                    await server.start()
                    self._server = server
                    group.create_task(self._guard(server))
                await self._serve(group, source)
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed
        finally:
            if server is not None:  # last: what is under way at the gateways can still end
                await server.stop()

    async def _serve(self, group: asyncio.TaskGroup, source: LatestDirectory) -> None:
        secrets, place, config = self.secrets, self.place, self.config
        async with (
            Link(secrets.system_credentials(place, config)) as system,
            Link(secrets.hub_credentials(place, config)) as hub,
        ):
            await system.wait_connected(CONNECT_TIMEOUT_S)
            await hub.wait_connected(CONNECT_TIMEOUT_S)
            self.pulse.link = hub
            enrolment = Enrolment(secrets.keys, system, hub, config.sizes(), secrets.revoked)
            members = wanted(self._read(source), self._suspensions, now=clock.now())
            await enrolment.apply(members, now=clock.now())
            queues = QueueWatch(hub, lambda: read_erased(self.place.erased_file))
            await self._remember(queues)
            keeper = Timekeeper(self.place.clock_file, lambda: self._shown(hub))
            await self._keep_time(keeper)  # before anybody reads what was believed last
            self.pulse.looked_at = clock.now()
            await MemberServices(source.published.repository, self._notices).serve(hub)
            attachments = await self._attachments(hub, source, keeper)
            await attachments.admit(tuple(members))
            for worker in range(1, config.gateways + 1):
                command = self.command(place.home, worker)
                task = keep_running(command, worker=worker, environment=self.environment)
                group.create_task(task)
            for command in self.beside:
                group.create_task(keep_running(command, worker=0, environment=self.environment))
            group.create_task(self._keep_signing(source))
            group.create_task(self._keep_remembering(queues, keeper))
            group.create_task(keep_looking(place, config, self.pulse))
            group.create_task(self._store_watch(system).run())
            group.create_task(_keep_sweeping(hub, self.place, keeper))
            group.create_task(attachments.sweep_for_ever(SWEEP_S))
            self._tell_ready()
            await self._watch(source, enrolment, attachments)

    def _prepared_server(self, source: LatestDirectory, *, now: datetime) -> Server:
        place = self.place.server(self.config)
        sizes, members = self.config.sizes(), self._read(source).members()
        write_server(self.place, self.config, self.secrets, now=now, members=members)
        folders = (place.folder, self.place.attachments)
        check_disk(*folders, sizes=sizes, members=len(members), years=len(years_at(now)))
        return Server(place)

    def _check_servers(self, view: DirectoryView, *, now: datetime) -> None:
        """Return if each server of the cluster may take all that may be stored."""
        sizes = replace(self.config.sizes(), attachments=0)  # those lie here, in no stream
        needed = sizes.total(len(view.members()), len(years_at(now)))
        check_room("each server's disk (server_disk_mib)", needed, self.config.server_disk)

    async def _guard(self, server: Server) -> None:
        """Start the server again whenever it ends."""
        pause_s, loop = MIN_PAUSE_S, asyncio.get_running_loop()
        while True:
            started = loop.time()
            code = await server.wait()
            _log.error("server-ended", code=str(code))
            await asyncio.sleep(pause_s)
            ran_long = loop.time() - started > STEADY_S
            pause_s = MIN_PAUSE_S if ran_long else min(pause_s * 2, MAX_PAUSE_S)
            await server.start()
            try:
                self._write_state()
            except KeysError as error:  # a full disk must not end the hub; it is written later
                _log.warning("state-not-written", error_code=error.code)

    def _store_watch(self, system: Link) -> StoreWatch:
        server = self._server
        if server is None:
            names = tuple(each.name for each in self.config.cluster)
            return StoreWatch(system, names or ("",), self.pulse)
        store = server.place.store
        return StoreWatch(system, (OWN_NAME,), self.pulse, server.end, lambda: has_room(store))

    async def _attachments(
        self, hub: Link, source: LatestDirectory, keeper: Timekeeper
    ) -> AttachmentService:
        quota = self.config.store.sizes().attachments
        store = ChunkStore(ChunkFiles(self.place.attachments), quota)
        await store.load()
        return AttachmentService(
            store,
            hub,
            lambda: self._view or self._read(source),
            self.records,
            clock_is_good=keeper.is_good,
        )

    async def _watch(
        self, source: LatestDirectory, enrolment: Enrolment, attachments: AttachmentService
    ) -> None:
        """Follow directory and suspensions for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            now = clock.now()
            try:
                members = wanted(self._read(source), self._read_suspensions(now), now=now)
                if await enrolment.apply(members, now=now):
                    await attachments.admit(tuple(members))
                    self._write_state()
            except (BrokerError, KeysError) as error:
                _log.error("not-applied", error_code=error.code)
                await asyncio.sleep(RETRY_APPLY_S)

    def _read(self, source: LatestDirectory) -> DirectoryView:
        self._view = self.pulse.view = source.view()
        return self._view

    def _read_suspensions(self, now: datetime) -> Suspensions:
        found = read_suspensions(self.place.suspensions_file)
        before, after = self._suspensions.in_force(now), found.in_force(now)
        for member in after.keys() - before.keys():
            _log.warning("suspended", member=member)
        self._suspensions = found
        self.pulse.suspended = len(after)
        return found

    def _notices(self, now: datetime) -> tuple[Notice, ...]:
        return tuple(entry.notice() for entry in self._suspensions.in_force(now).values())

    async def _keep_signing(self, source: LatestDirectory) -> None:
        """Sign the directory's timestamp again for ever."""
        pause_s = RESIGN_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._resign(source)
                pause_s = RESIGN_S
            except KeysError as error:
                _log.error("timestamp-not-signed", error_code=error.code)
                pause_s = RETRY_RESIGN_S

    async def _keep_time(self, keeper: Timekeeper) -> None:
        try:
            await keeper.look()
        except (BrokerError, KeysError) as error:
            _log.error("time-not-known", error_code=error.code)
        self.pulse.clock_in_doubt = not keeper.is_good()

    async def _shown(self, link: Link) -> datetime | None:
        """Return the latest time that members and witnesses show."""
        view = self._view
        if view is None:
            return None
        found = [await shown_by_members(link, tuple(self.pulse.streams), view.members())]
        if self.tiles is not None:
            found.append(await asyncio.to_thread(shown_by_witnesses, self.tiles, view, clock.now()))
        return max((each for each in found if each is not None), default=None)

    async def _keep_remembering(self, queues: QueueWatch, keeper: Timekeeper) -> None:
        """Look how far the streams are, for ever, and at once when the server is a new one."""
        link, loop = queues.link, asyncio.get_running_loop()
        generation = link.generation
        looked_at = loop.time()
        while True:
            await asyncio.sleep(POLL_S)
            if link.generation == generation and loop.time() - looked_at < REMEMBER_S:
                continue
            generation, looked_at = link.generation, loop.time()
            await self._keep_time(keeper)
            try:
                await self._remember(queues, clock_is_good=keeper.is_good())
                self._write_state()
                self.pulse.looked_at = clock.now()
            except (BrokerError, KeysError) as error:
                _log.warning("streams-not-seen", error_code=error.code)

    async def _remember(self, queues: QueueWatch, *, clock_is_good: bool = False) -> None:
        path = self.place.memory_file
        seen = await streams_seen(queues.link)
        self.pulse.streams = seen.states
        for name in sorted(
            seen.silent & self.pulse.silent
        ):  # for longer than servers need to agree
            _log.error("stream-silent", stream=name)
        self.pulse.silent = seen.silent
        purged, erased = await queues.look(seen.states), queues.erased()
        before = read_memory(path)
        after = before.seen(
            seen.states,
            erased,
            now=clock.now(),
            clock_is_good=clock_is_good,
            silent=seen.silent,
        ).purged(purged)
        # `kentong log resume` may have noticed it first; it is this process that says so.
        said = before.went_back if self.pulse.looked_at is None else self.pulse.went_back
        self.pulse.went_back = after.went_back
        for name in after.went_back:
            if name not in said:
                _log.error("stream-went-back", stream=name, alarm="stream-went-back")
        if after != before:
            write_memory(path, after)

    async def _resign(self, source: LatestDirectory) -> None:
        await asyncio.to_thread(
            source.published.repository.renew_timestamp, online=self.online, now=clock.now()
        )

    def _tell_ready(self) -> None:
        self._write_state()
        members = self._view.members() if self._view else ()
        _log.info("hub-ready", members=len(members), port=self.config.port)
        pid = self._server.pid if self._server else None
        self.on_ready(Ready(self.config.public_url, members, pid))

    def _write_state(self) -> None:
        view = self._view
        state = {
            "pid": os.getpid(),
            "url": self.config.public_url,
            "at": clock.now().isoformat(),
            "gateways": self.config.gateways,
            "server_pid": self._server.pid if self._server else None,
            "members": list(view.members()) if view else [],
            "snapshot": view.version.snapshot if view else 0,
        }
        write_private(self.place.state_file, json.dumps(state, indent=1).encode())


async def _keep_sweeping(link: Link, place: HubPlace, keeper: Timekeeper) -> None:
    """Take out what nobody read in time, for ever; nothing while the time is in doubt."""
    sweep = UnreadSweep(link, partial(note_erased, place.erased_file))
    while True:
        try:
            if keeper.is_good():
                await sweep.sweep(clock.now())
            else:
                _log.warning("nothing-swept", code="hub-clock")
        except (BrokerError, KeysError) as error:
            _log.warning("sweep-paused", error_code=error.code)
        await asyncio.sleep(SWEEP_S)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first cause in a group of failures."""
    cause = failed.exceptions[0]
    return _first(cause) if isinstance(cause, BaseExceptionGroup) else cause
