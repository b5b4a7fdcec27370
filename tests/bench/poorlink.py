"""`make poorlink`: a node on a small machine behind a poor line, measured from start to mail.

    python -m tests.bench.poorlink [--alerts N] [--member SG]

One core, 256 MiB by a control group where one may be made, 64 kbit/s, 800 ms there and 800 ms back,
5 % loss: of packets on a wire between two networks (`tests/support/wire.py`) where this machine
lets us make them, else as `tests/support/poorline.py` shows it. Everything else of the region runs
beside it on this machine. Nothing passes or fails: it says what is so. The figures are in
docs/poor-links.md.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.processes import Processes, _is_there
from broker.cli.demo.region import ACK_WAIT_S, LOG2N, ROUND_S, DemoRegion, found
from broker.client import Client
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.transport.streams import ACK_WAIT_S as PATIENT_S
from schemas.vocabulary import Precedence, Status
from tests.bench.sizes import sizes
from tests.support.network import why_not
from tests.support.poorline import PoorLine, running_poor_line
from tests.support.processes import warning
from tests.support.wire import Condition
from tests.support.wiredline import WiredLine, running_wired_line

NODES = ("SG", "MY", "VN")
MEMORY_BYTES = 256 * 1024 * 1024
GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
DELAY_S = 0.8
BITS_PER_S = 64_000.0
SEED = 7  # which packets are lost
BOUND_S = 1200.0
QUIET_S = 60.0  # what was sent is answered and proved by then
START = "import sys; from broker.cli import main; main()"
FarLine = PoorLine | WiredLine


@dataclass
class Small:
    """A node confined to one core and 256 MiB.

    Attributes:
        launcher: What is put before its command: where its line begins.
        confined: How; empty if nothing holds it to its memory.
        peak_mib: The most of it that was in memory.
    """

    region: DemoRegion
    group: Path | None
    launcher: tuple[str, ...] = ()
    confined: str = ""
    peak_mib: float = 0.0
    _process: asyncio.subprocess.Process | None = None

    async def start(self, code: str) -> None:
        place = NodePlace(self.region.home(code))
        environment = {
            **os.environ,  # noqa: TID251 - handed on to a child, not read
            "KENTONG_HOME": str(self.region.home(code)),
            "KENTONG_PASSPHRASE_FILE": str(self.region.passphrase_file),
            "KENTONG_SCRYPT_LOG2N": str(LOG2N),
        }
        program = f"import os; os.sched_setaffinity(0, {{{max(os.sched_getaffinity(0))}}})\n"
        if self.group is not None:
            program += f"open({str(self.group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        log = (self.region.folder / f"{code}.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(*self.launcher, sys.executable, "-c", program + START, "node", "run"),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        async with asyncio.timeout(60):
            while not _is_there(place.socket, self._process.pid):
                assert self._process.returncode is None, "the node did not start"
                await asyncio.sleep(0.05)

    def look(self) -> None:
        """Note how much memory it has taken."""
        if self._process is not None and self._process.returncode is None:
            status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
            (line,) = [each for each in status.splitlines() if each.startswith("VmHWM")]
            self.peak_mib = int(line.split()[1]) / 1024

    async def stop(self) -> None:
        if self._process is not None:
            self.look()
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()


@contextmanager
def memory_group() -> Iterator[tuple[Path | None, str]]:
    """A control group of 256 MiB, if this user may make one."""
    for parent, limit in zip(GROUPS, ("memory.limit_in_bytes", "memory.max"), strict=True):
        group = parent / f"kentong-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(MEMORY_BYTES))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        try:
            yield group, f"control group, {limit} = {MEMORY_BYTES}"
        finally:
            group.rmdir()
        return
    yield None, ""


@dataclass
class Bench:
    """What runs, and what was found."""

    clients: dict[str, Client]
    line: FarLine
    small: Small
    found: dict[str, Any] = field(default_factory=dict)

    async def measured(self, name: str, work: Callable[[], Awaitable[int]]) -> None:
        """Note how long some alerts took, and the bytes of each on the line."""
        out, back, began = self.line.out.passed, self.line.back.passed, time.monotonic()
        count = await work()
        seconds = time.monotonic() - began
        self.small.look()
        self.found[name] = {
            "alerts": count,
            "seconds": round(seconds, 1),
            "alerts_per_minute": round(count * 60 / seconds, 1),
            "bytes_to_hub_each": (self.line.out.passed - out) // max(1, count),
            "bytes_from_hub_each": (self.line.back.passed - back) // max(1, count),
        }
        say(name, self.found[name])

    async def idle(self, seconds: float) -> None:
        """Note what passes while nobody sends anything."""
        out, back = self.line.out.passed, self.line.back.passed
        await asyncio.sleep(seconds)
        self.found["idle"] = {
            "bytes_to_hub_per_minute": round((self.line.out.passed - out) * 60 / seconds),
            "bytes_from_hub_per_minute": round((self.line.back.passed - back) * 60 / seconds),
        }
        say("idle", self.found["idle"])

    async def sends(self, code: str, to: str, first: int, count: int) -> int:
        """Send all at once, and return when all are in the other inbox."""
        before = await self._there(to)
        for number in range(first, first + count):
            await self.clients[code].send(warning(number, (to,)))
        await self._until(lambda: self._has(to, before + count))
        return count

    async def one_by_one(self, code: str, to: str, first: int, count: int) -> int:
        """Send each when the one before is there."""
        for number in range(first, first + count):
            await self.sends(code, to, number, 1)
        return count

    async def urgent_behind(self, first: int, count: int) -> None:
        """Note how soon an urgent alert is there that was queued behind others."""
        before = await self._there("MY")
        for number in range(first, first + count):
            await self.clients["SG"].send(warning(number, ("MY",)))
        began = time.monotonic()
        request = warning(first + count, ("MY",))
        urgent = request.model_copy(
            update={"precedence": Precedence.FLASH, "status": Status.ACTUAL}
        )
        sent = await self.clients["SG"].send(urgent)
        await self._until(lambda: self._arrived("MY", str(sent.alert_id)))
        took = time.monotonic() - began
        await self._until(lambda: self._has("MY", before + count + 1))
        whole = time.monotonic() - began
        self.found["urgent"] = {
            "queued_before_it": count,
            "seconds": round(took, 1),
            "seconds_for_all": round(whole, 1),
        }
        say("urgent", self.found["urgent"])

    async def _arrived(self, code: str, alert_id: str) -> bool:
        page = await self.clients[code].inbox(limit=500)
        return any(str(item.alert_id) == alert_id for item in page.items)

    async def _there(self, code: str) -> int:
        return len((await self.clients[code].inbox(limit=500)).items)

    async def _has(self, code: str, count: int) -> bool:
        return await self._there(code) >= count

    async def _until(self, met: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not await met():  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.1)


@asynccontextmanager
async def far_line(
    folder: Path, to_port: int, *, delay_s: float, loss: float
) -> AsyncIterator[FarLine]:
    """A thin, late and lossy line: a wire, or what shows one where none may be made."""
    if reason := why_not():
        say("line", {"shown by a proxy": reason})
        async with running_poor_line(delay_s=delay_s, loss=loss, bits_per_s=BITS_PER_S) as shown:
            shown.to_port = to_port
            yield shown
        return
    condition = Condition(delay_s=delay_s, loss=loss, bits_per_s=BITS_PER_S)
    async with running_wired_line(folder, seed=SEED, condition=condition) as wired:
        wired.to_ports = (to_port,)
        yield wired


@asynccontextmanager
async def stage(
    folder: Path, *, delay_s: float = DELAY_S, loss: float = 0.05, log: bool = True
) -> AsyncIterator[tuple[DemoRegion, FarLine, Small]]:
    """A region whose SG is small and far away; SG is not started."""
    region = await asyncio.to_thread(found, folder, log=log, nodes=NODES)
    _as_in_service(region)
    port = HubPlace(region.hub).config().port
    async with far_line(folder / "line", port, delay_s=delay_s, loss=loss) as line:
        place = NodePlace(region.home("SG"))
        config = place.config().model_copy(
            update={"hub_url": f"tls://localhost:{line.port}", "log_compare_s": 600}
        )
        place.write(config, place.authority_pem())
        processes = Processes(region)
        with memory_group() as (group, how):
            small = Small(region, group, line.command, how)
            try:
                await processes.start_hub()
                for code in ("MY", "VN"):
                    await processes.start_node(code)
                yield region, line, small
            finally:
                await small.stop()
                await processes.stop()


def _as_in_service(region: DemoRegion) -> None:
    """Let the hub be as patient as it is outside of a demonstration."""
    for file, hasty, patient in (
        (
            HubPlace(region.hub).config_file,
            f"ack_wait_s = {ACK_WAIT_S}",
            f"ack_wait_s = {PATIENT_S}",
        ),
        (LedgerPlace(region.hub).config_file, f"round_s = {ROUND_S}", "round_s = 10.0"),
    ):
        text = file.read_text("utf-8")
        assert hasty in text
        file.write_text(text.replace(hasty, patient), "utf-8")


def desk(region: DemoRegion, code: str) -> Client:
    return Client(
        url=region.url(code),
        token=region.tokens[code],
        officer_key=region.officer(code),
        patience_s=BOUND_S,
    )


async def first_start(client: Client) -> None:
    """Return once a node may seal."""
    async with asyncio.timeout(BOUND_S):
        while True:
            status = await client.node_status()
            if status.directory is not None and not status.sealing:
                return
            await asyncio.sleep(0.1)


async def measure(alerts: int) -> dict[str, Any]:
    """Return all of it."""
    for each in sizes():
        say(f"bytes of {each.type}", vars(each))
    with tempfile.TemporaryDirectory(prefix="kp") as folder:
        async with stage(Path(folder) / "r") as (region, line, small):
            began = time.monotonic()
            await small.start("SG")
            async with desk(region, "SG") as sg, desk(region, "MY") as my:
                bench = Bench({"SG": sg, "MY": my}, line, small)
                await first_start(sg)
                bench.found["first start"] = {
                    "seconds": round(time.monotonic() - began, 1),
                    "bytes_from_hub": line.back.passed,
                    "bytes_to_hub": line.out.passed,
                }
                say("first start", bench.found["first start"])
                await bench.measured("sent", lambda: bench.sends("SG", "MY", 0, alerts))
                await bench.measured("received", lambda: bench.sends("MY", "SG", 1000, alerts))
                few = max(1, alerts // 8)
                one = bench.one_by_one
                await bench.measured("sent one by one", lambda: one("SG", "MY", 2000, few))
                await bench.measured("received one by one", lambda: one("MY", "SG", 3000, few))
                await bench.urgent_behind(4000, alerts)
                await asyncio.sleep(QUIET_S)
                await bench.idle(QUIET_S)
                bench.found["lost"] = {
                    "packets_to_hub": line.out.lost,
                    "packets_from_hub": line.back.lost,
                }
                say("lost", bench.found["lost"])
                small.look()
                bench.found["memory"] = {
                    "peak_mib": round(small.peak_mib, 1),
                    "confined": small.confined or "not confined: no control group may be made",
                }
                say("memory", bench.found["memory"])
                return bench.found


def say(name: str, values: dict[str, Any]) -> None:
    told = ", ".join(f"{key} {value}" for key, value in values.items())
    sys.stdout.write(f"{name:22}{told}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--alerts", type=int, default=40)
    chosen = parser.parse_args()
    result = asyncio.run(measure(chosen.alerts))
    folder = Path("build/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "poorlink.json").write_text(json.dumps(result, indent=1), "utf-8")


if __name__ == "__main__":
    main()
