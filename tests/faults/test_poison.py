"""A submission with which gateway workers die is tried alone, in a child under limits.

No bytes are known that kill a worker, so three workers of this test take the submission and
vanish; and the child's limit of memory, a setting, is too low for judging anything.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.hub.place import HubPlace
from broker.transport.link import Link
from keys.files import write_private
from schemas.desk import DraftRequest, OriginalDocument, RecipientState, Submission
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.hub import BOUND_S
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]
LANE = "exercise"
WAIT_S = 3  # before the server asks another worker; more than a trial takes
DEATHS = 3  # as many as a worker trusts a submission
TOO_LITTLE_MIB = "64"  # not enough to judge anything
LARGE_BYTES = 300_000


@dataclass
class Stage:
    """A region without a gateway, which the test starts and stops."""

    region: DemoRegion
    place: HubPlace
    link: Link
    clients: dict[str, Client]

    async def send(self, number: int, *, original: bytes | None = None) -> Submission:
        document = original and OriginalDocument(content=original, media_type="text/plain")
        request = DraftRequest(
            status=Status.EXERCISE,
            alert=alerts.cyber(clock.now().date(), number),
            recipients=("MY",),
            agency="POLICE",
            tlp=TLP.AMBER,
            purposes=(Purpose.WARN,),
            original=document or None,
        )
        sg = self.clients["SG"]
        return (await sg.submit(await sg.prepare(request))).shown

    async def over(self, submission: Submission) -> Submission:
        """Its last state."""
        async with must_come(BOUND_S, lambda: "the submission is not over"):
            while True:
                shown = (await self.clients["SG"].status(submission.submission_id)).shown
                if all(each.state.final for each in shown.recipients):
                    return shown
                await asyncio.sleep(0.05)

    async def workers_die_of_it(self) -> None:
        """Three workers take what waits, and are never heard of again."""
        await self._give_up_after(WAIT_S)
        async with must_come(BOUND_S, lambda: "what no worker survives was not handed out again"):
            for death in range(1, DEATHS + 1):
                while not (taken := await self._taken()):
                    pass
                assert taken[0] == death

    async def _taken(self) -> list[int]:
        place = self.place
        secrets = place.open_gateway(self.region.passphrase)
        async with Link(secrets.credentials(place, place.config(), "doomed")) as worker:
            await worker.wait_connected()
            found = await worker.pull("SUBMIT_SG", f"GATEWAY-{LANE}", batch=9, timeout_s=2)
        return [message.attempts for message in found]

    async def _give_up_after(self, seconds: int) -> None:
        """Say how long the server waits for a worker before it asks another."""
        name = f"SUBMIT_SG.GATEWAY-{LANE}"
        info = await self.link.api(f"CONSUMER.INFO.{name}", {})
        config = {**info["config"], "ack_wait": seconds * 1_000_000_000}
        body = {"stream_name": "SUBMIT_SG", "config": config}
        await self.link.api(f"CONSUMER.DURABLE.CREATE.{name}", body)

    @asynccontextmanager
    async def gateway(self, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A gateway worker as a process, killed at the end."""
        with (self.region.folder / "gateway.log").open("ab") as log:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from broker.cli import main; main()",
                *("gateway", "run", "--worker", "1"),
                env={
                    **os.environ,  # noqa: TID251 - handed on to a child, not read
                    "KENTONG_HOME": str(self.region.hub),
                    "KENTONG_PASSPHRASE_FILE": str(self.region.passphrase_file),
                    **environment,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield worker
        finally:
            worker.kill()
            await worker.wait()


@asynccontextmanager
async def running_stage(folder: Path) -> AsyncIterator[Stage]:
    async with running_region(folder, prepare=without_gateway) as (region, _, clients):
        place = HubPlace(region.hub)
        secrets = place.open_hub(region.passphrase)
        async with Link(secrets.hub_credentials(place, place.config())) as link:
            await link.wait_connected()
            yield Stage(region, place, link, clients)


def without_gateway(region: DemoRegion) -> None:
    path = HubPlace(region.hub).config_file
    text = path.read_text()
    assert "gateways = 1" in text
    write_private(path, text.replace("gateways = 1", "gateways = 0").encode())


async def test_it_is_refused_and_the_lane_carries_on(tmp_path: Path) -> None:
    async with running_stage(tmp_path / "r") as stage:
        poison = await stage.send(1, original=b"x" * LARGE_BYTES)
        await stage.workers_die_of_it()
        async with stage.gateway(KENTONG_TRIAL_MEMORY_MIB=TOO_LITTLE_MIB) as worker:
            after = await stage.send(2)
            outcome = (await stage.over(poison)).recipients[0]
            assert (outcome.state, outcome.code) == (RecipientState.REFUSED, "unprocessable")
            assert (outcome.refused_by, outcome.decided_at is not None) == ("gateway", True)
            assert (await stage.over(after)).recipients[0].state is RecipientState.DELIVERED
            assert worker.returncode is None
        items = (await stage.clients["MY"].inbox()).items
        assert [item.alert_id for item in items] == [after.alert_id]
        # The refusal stands in the record, and nothing waits to be tried again.
        info = await stage.link.api(f"CONSUMER.INFO.SUBMIT_SG.GATEWAY-{LANE}", {})
        assert (info["num_pending"], info["num_ack_pending"]) == (0, 0)


async def test_what_the_child_survives_is_judged_like_any_other(tmp_path: Path) -> None:
    """An innocent submission, under way while workers died of something else."""
    async with running_stage(tmp_path / "r") as stage:
        innocent = await stage.send(1, original=b"x" * LARGE_BYTES)
        await stage.workers_die_of_it()
        async with stage.gateway():
            assert (await stage.over(innocent)).recipients[0].state is RecipientState.DELIVERED
        assert "tried-in-child" in (stage.region.folder / "gateway.log").read_text()
