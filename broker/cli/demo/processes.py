"""The demonstration's processes: started as an administrator would, killed as a bad day would."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.cli.demo.region import LOG2N, DemoRegion
from broker.errors import BrokerError

READY_S: Final = 90.0  # three servers that agree on each stream of seven members, on two cores
STOP_S: Final = 10.0
_START: Final = "from broker.cli import main; main()"


@dataclass
class Processes:
    """Hub and nodes, each a process of its own, with its log in the demonstration's folder.

    Attributes:
        environment: What a process has beyond ours, by its name.
        launchers: What is put before a process's command, by its name, and becomes the process.
    """

    region: DemoRegion
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    launchers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start_hub(self) -> None:
        """Start hub, nats-server and gateway.

        Raises:
            BrokerError: `demo-failed`: it did not become ready.
        """
        await self._start("hub", self.region.hub, "hub", "run")
        await self._until_ready("hub", self.region.hub / "hub" / "state.json")

    async def start_node(self, code: str) -> None:
        """Start one member's node.

        Raises:
            BrokerError: `demo-failed`.
        """
        await self._start(code, self.region.home(code), "node", "run")
        await self._until_ready(code, self.region.home(code) / "node" / "api.sock")

    async def start_all(self) -> None:
        """Start everything.

        Raises:
            BrokerError: `demo-failed`.
        """
        await self.start_hub()
        async with asyncio.TaskGroup() as group:
            for code in self.region.nodes:
                group.create_task(self.start_node(code))

    async def kill(self, name: str) -> int:
        """Kill a node with SIGKILL; return its process id.

        Raises:
            BrokerError: `demo-failed`: it had ended by itself.
        """
        process = self._running.pop(name)
        if process.returncode is not None:
            raise BrokerError("demo-failed", f"{name} had ended with {process.returncode}")
        process.kill()
        await process.wait()
        return process.pid

    async def kill_gateway(self) -> int:
        """Kill the gateway worker with SIGKILL, a child of the hub; return its process id.

        One that died by itself, or by somebody else's hand, is waited for: the hub starts it again.

        Raises:
            BrokerError: `demo-failed`: none came.
        """
        hub = self._running["hub"].pid
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while True:
                    for child in _children(hub):
                        if "gateway" in _command(child):
                            os.kill(child, signal.SIGKILL)
                            return child
                    await asyncio.sleep(0.05)
        raise BrokerError("demo-failed", "the gateway does not run")

    def ended(self, name: str) -> bool:
        """Return whether a process has ended by itself."""
        return self._running[name].returncode is not None

    async def stop(self) -> None:
        """Stop everything, politely at first."""
        for process in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._running.values():
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._running.clear()

    async def command(self, *words: str) -> tuple[int, str]:
        """Run one command to its end as anybody could; return its exit code and what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _START, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return await process.wait(), output.decode()

    def pids(self) -> dict[str, int]:
        """Return the process id of each."""
        return {name: process.pid for name, process in self._running.items()}

    async def _start(self, name: str, home: Path, *words: str) -> None:
        environment = {
            **os.environ,  # noqa: TID251 - handed on to a child, not read
            "KENTONG_HOME": str(home),
            "KENTONG_PASSPHRASE_FILE": str(self.region.passphrase_file),
            "KENTONG_SCRYPT_LOG2N": str(LOG2N),
            **self.environment.get(name, {}),
        }
        with (self.region.folder / f"{name}.log").open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *(*self.launchers.get(name, ()), sys.executable, "-c", _START, *words),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _until_ready(self, name: str, sign: Path) -> None:
        """Wait for the file that a ready process writes, newer than the process."""
        process = self._running[name]
        try:
            async with asyncio.timeout(READY_S):
                while not _is_there(sign, process.pid):
                    if process.returncode is not None:
                        break
                    await asyncio.sleep(0.05)
                else:
                    return
        except TimeoutError:
            pass
        raise BrokerError(
            "demo-failed", f"{name} did not start: see {self.region.folder / name}.log"
        )


def _is_there(sign: Path, pid: int) -> bool:
    try:
        return sign.stat().st_mtime >= Path(f"/proc/{pid}").stat().st_mtime - 1
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
