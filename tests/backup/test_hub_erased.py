"""What the operator erased at the hub is in an older backup, and can be erased again."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from broker.ledger.place import LedgerPlace
from tests.faults.test_auditors import send
from tests.faults.test_log import audited
from tests.faults.test_log_restored import all_proved, said, stop_hub
from tests.support.commands import Machine
from tests.support.processes import running_region

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]


async def test_what_was_erased_since_is_back_and_is_erased_again(tmp_path: Path) -> None:
    kept = tmp_path / "hub.tar"
    async with (
        asyncio.timeout(560),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        machine = Machine(region.hub, region.passphrase_file)

        async def told(*words: str) -> dict[str, Any]:
            return dict(json.loads(await asyncio.to_thread(machine.good, *words, "--json")))

        ident = await send(clients["SG"], 0)
        await all_proved(clients)
        await stop_hub(processes)
        await told("hub", "backup", "--to", str(kept))
        await processes.start_hub()
        erase = ("log", "erase", "SG", ident, "--yes")
        assert (await told(*erase))["messages"] > 0
        assert (await told(*erase))["messages"] == 0
        await send(clients["SG"], 1)
        await all_proved(clients)
        await stop_hub(processes)
        for name in ("hub", "log"):
            shutil.rmtree(region.hub / name)
        await told("hub", "restore", str(kept))
        already = (region.folder / "hub.log").stat().st_size
        await processes.start_hub()
        await said(region, '"log-restored"', after=already)
        assert (await told(*erase))["messages"] > 0
        assert (await told(*erase))["messages"] == 0
        await send(clients["SG"], 2)
        await all_proved(clients)
        audited(region, LedgerPlace(region.hub), tmp_path)
