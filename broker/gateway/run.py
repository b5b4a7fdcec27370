"""Joins a worker's tasks: lanes of every member, drains of held copies, the directory."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from broker.admission.quota import Quotas
from broker.gateway import record
from broker.gateway.audit_watch import AuditWatch, nothing_lost
from broker.gateway.boots import Boots
from broker.gateway.counts import Counts
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.dispatch import Dispatcher
from broker.gateway.held import HeldDrain, always
from broker.gateway.pace import Pace
from broker.gateway.presence import Presence
from broker.gateway.trial import ChildTrial
from broker.gateway.witnessing import Witnessing
from broker.gateway.worker import Trial, Worker
from broker.log.recordkeys import RecordKeys
from broker.logs import get_logger
from broker.monitoring.report import keep_reporting
from broker.settings import settings
from broker.transport.link import Link
from broker.transport.servertime import Timepiece
from keys.directory.source import LatestDirectory, PublishedDirectory
from keys.errors import KeysError
from schemas.vocabulary import Lane

MEMBERS_POLL_S: Final = 1.0
RECORD_KEYS_S: Final = 60.0
_log = get_logger()


async def run_worker(
    link: Link,
    directory: DirectoryInForce,
    decider: Decider,
    *,
    trial: Trial,
    quotas: Quotas | None = None,
    runs: Path | None = None,
    silent: bool = False,
    lost: Callable[[], Mapping[str, int]] = nothing_lost,
    report: Path | None = None,
    clock_is_good: Callable[[], bool] = always,
) -> None:
    """Judge and route for ever; members that join the directory are served at once.

    Args:
        link: On the hub's own account.
        directory: What to judge by.
        decider: This instance's name and key.
        trial: For what failed before.
        quotas: This worker's part of what a member may submit; all of it if none are given.
        runs: Where this worker keeps its place; without it, the numbers of a run that was killed
            stay open.
        silent: Say nothing of this run itself in the record.
        lost: As `AuditWatch.lost`.
        report: Where this worker writes its counts, a file of its own.
        clock_is_good: As `HeldDrain.clock_is_good`.

    Raises:
        BrokerError: The server does not answer, or the file is damaged; `run-abandoned`,
            `clock-wrong`: begin another run.
        KeyFileError: The file cannot be written.
    """
    trail = record.AuditTrail(link)
    dispatcher = Dispatcher(link, trail, decider.kid, decider.key, decider.records)
    counts = Counts()
    timepiece = Timepiece(link)
    await timepiece.ask()
    timepiece.check()
    watch = AuditWatch(link, lambda: _log_key(directory), lost)
    await watch.look()
    heard = timepiece.check
    boots = None
    if runs is not None:
        boots = Boots(runs, link, decider, trail, check_clock=timepiece.check)
        heard = boots.check_heard
    worker = Worker(
        link,
        directory,
        decider,
        trail,
        dispatcher,
        trial,
        Pace(quotas or Quotas()),
        lambda: watch.may_judge,
        counts,
        check_heard=heard,
    )
    drain = HeldDrain(link, dispatcher, counts, lambda: clock_is_good() and timepiece.is_right())
    if boots is not None:
        await boots.begin()
    presence = Presence(link, worker.leftovers, timepiece.check)
    telling = contextlib.nullcontext() if silent else presence.told()
    async with telling, asyncio.TaskGroup() as group:
        group.create_task(timepiece.run())
        group.create_task(directory.keep_fresh())
        group.create_task(_keep_reading(decider.records))
        group.create_task(watch.run())
        group.create_task(worker.leftovers.run())
        if boots is not None:
            group.create_task(boots.run())
        if not silent:
            group.create_task(presence.run())
        if report is not None:
            group.create_task(keep_reporting(counts.registry, report))
        group.create_task(drain.run())
        group.create_task(drain.run_expired())
        await _serve(group, worker, directory)


async def _serve(group: asyncio.TaskGroup, worker: Worker, directory: DirectoryInForce) -> None:
    served: set[str] = set()
    while True:
        for member in sorted(set(directory.view.members()) - served):
            served.add(member)
            for lane in Lane:
                group.create_task(worker.run_lane(member, lane))
            _log.info("serving", member=member)
        await asyncio.sleep(MEMBERS_POLL_S)


async def _keep_reading(records: RecordKeys) -> None:
    """Take up a record key that the operator made meanwhile: the old one ends for all workers."""
    while True:
        await asyncio.sleep(RECORD_KEYS_S)
        try:
            records.reread()
        except KeysError as error:
            _log.warning("record-keys-not-read", error_code=error.code)


def _log_key(directory: DirectoryInForce) -> bytes | None:
    log = directory.view.hub.log
    return None if log is None else log.sequencer


def published(home: Path, witnessing: Witnessing | None = None) -> DirectoryInForce:
    """Return the directory that the hub in `home` publishes, and whether its log is witnessed."""
    return DirectoryInForce.read(LatestDirectory(PublishedDirectory.at(home)), witnessing)


def child_trial(home: Path) -> Trial:
    """Return the trial that reads the hub's own directory."""
    chosen = settings()
    return ChildTrial(home, limit_s=chosen.trial_time_s, limit_mib=chosen.trial_memory_mib)
