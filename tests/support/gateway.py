"""Gateway workers in this process, on a real hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.admission.judge import Arrival
from broker.admission.quota import Quotas
from broker.envelope.decision import Delivery, parse_delivery
from broker.gateway.audit_watch import nothing_lost
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.held import always
from broker.gateway.leftovers import Leftovers
from broker.gateway.presence import Presence
from broker.gateway.record import AuditTrail
from broker.gateway.run import run_worker
from broker.gateway.worker import Trial
from broker.transport.link import Link
from keys.directory.view import DirectoryView
from schemas.receipt import Receipt, parse_receipt
from tests.support.envelopes import Made
from tests.support.hub import BOUND_S, RunningHub
from tests.support.region import TestRegion
from tests.support.waiting import must_come


@dataclass
class Source:
    """A directory that a test may change."""

    current: DirectoryView

    def view(self) -> DirectoryView:
        return self.current


async def nothing_to_try(_: Arrival) -> bool:
    return True


@asynccontextmanager
async def running_gateway(
    hub: RunningHub,
    *,
    directory: DirectoryInForce | None = None,
    name: str = "gw-1",
    decider: Decider | None = None,
    runs: Path | None = None,
    quotas: Quotas | None = None,
    silent: bool = True,
    lost: Callable[[], Mapping[str, int]] = nothing_lost,
    clock_is_good: Callable[[], bool] = always,
    trial: Trial = nothing_to_try,
) -> AsyncIterator[Link]:
    """One worker, stopped at once at the end: while silent, like a process that is killed."""
    region = hub.region
    directory = directory or DirectoryInForce.read(Source(region.view))
    decider = decider or Decider(
        name, region.gateway_kid, region.gateway_sign_key, region.record_keys
    )
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        loop = asyncio.get_running_loop()
        work = run_worker(
            link,
            directory,
            decider,
            trial=trial,
            quotas=quotas,
            runs=runs,
            silent=silent,
            lost=lost,
            clock_is_good=clock_is_good,
        )
        worker = loop.create_task(work)
        try:
            yield link
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker


async def announce(link: Link, region: TestRegion) -> None:
    """Have a gateway say which streams are in use, so that a log reads them."""
    decider = Decider("gw-9", region.gateway_kid, region.gateway_sign_key, region.record_keys)
    await Presence(link, Leftovers(decider, AuditTrail(link))).announce()


async def submit(link: Link, made: Made, *, attempt: int = 1, sender: str = "SG") -> None:
    subject = f"submit.{sender}.{made.label.lane}.{made.label.id}"
    digest = made.sealed.digest.hex()
    await link.publish_acked(subject, made.sealed.raw, msg_id=f"{digest}.{attempt}")


async def receipt(link: Link, member: str = "SG") -> Receipt:
    """The next receipt, acknowledged."""
    async with must_come(BOUND_S, lambda: f"no receipt for {member}"):
        while True:
            for message in await link.pull(f"RECEIPT_{member}", member, batch=1, timeout_s=5):
                await message.ack()
                return parse_receipt(message.payload)


async def mail(link: Link, member: str, lane: str = "normal") -> Delivery:
    """The next delivery, acknowledged."""
    async with must_come(BOUND_S, lambda: f"no mail for {member} in {lane}"):
        while True:
            for message in await link.pull(f"INBOX_{member}_{lane}", lane, batch=1, timeout_s=5):
                await message.ack()
                return parse_delivery(message.payload)


async def no_mail(link: Link, member: str, lane: str = "normal") -> None:
    """Fail if a delivery waits."""
    assert await link.pull(f"INBOX_{member}_{lane}", lane, batch=1, timeout_s=0.5) == []
