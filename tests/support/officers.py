"""Officers at their desks: the real command as a process, in a pipe or at a terminal."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pexpect

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.command import _profile
from broker.cli.demo.region import DemoRegion
from broker.client import Profiles
from broker.client.profiles import ProfileBasis, ProfileContact
from tests.support.counting import Meter, metered_port, metered_socket
from tests.support.processes import running_region

COMMAND = [sys.executable, "-c", "from broker.cli import main; main()"]


@dataclass(frozen=True)
class Wires:
    """What SG's officer and SG's node say, in bytes: to the node's socket and to the hub."""

    desk: Meter
    hub: Meter


@asynccontextmanager
async def running_desks(folder: Path) -> AsyncIterator[tuple[DemoRegion, Wires]]:
    """A running region whose officers in SG and MY have whole profiles, with meters at SG."""
    async with metered_port() as (hub, port):

        def prepare(region: DemoRegion) -> None:
            place = NodePlace(region.home("SG"))
            config = place.config()
            real = urlsplit(config.hub_url)
            hub.upstream = (str(real.hostname), int(real.port or 0))
            authority = place.authority_file.read_bytes()
            through = config.model_copy(update={"hub_url": f"tls://{real.hostname}:{port}"})
            place.write(through, authority)
            write_profiles(region)

        async with running_region(folder, prepare=prepare) as (region, _, _):
            socket = folder / "counted.sock"
            async with metered_socket(socket, NodePlace(region.home("SG")).socket) as desk:
                counted = Profiles.load(region.home("SG"))
                profile = counted.get("desk").model_copy(update={"url": f"unix://{socket}"})
                counted.add("counted", profile)
                yield region, Wires(desk, hub)


def write_profiles(region: DemoRegion) -> None:
    """Give the officers in SG and MY what they need not type."""
    for code in ("SG", "MY"):
        profile = _profile(region, code).model_copy(
            update={
                "contact": ProfileContact(function="Duty officer", phones=("+6565550100",)),
                "legal_basis": (ProfileBasis(instrument="aseanapol"),),
                "language": "en",
            }
        )
        profiles = Profiles.load(region.home(code))
        profiles.add("desk", profile)


async def run(
    region: DemoRegion, *words: str, code: str = "SG", given: str | None = None
) -> tuple[int, str, str]:
    """Exit code, standard output and error of one command."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--home",
        str(region.home(code)),
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80"},  # noqa: TID251 - handed on to a child
    )
    async with asyncio.timeout(60):
        out, err = await child.communicate(given.encode() if given else None)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


def heed_interrupts() -> None:
    """Call it in a child: one whose parents a shell runs in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def at_a_terminal(region: DemoRegion, *words: str, code: str = "SG") -> Any:  # noqa: ANN401 - pexpect has no types
    """The command at a terminal of 24 lines and 80 columns."""
    return pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "--home", str(region.home(code)), *words],
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=30,
    )


def answer(terminal: Any, answers: Sequence[str], *, first: int = 1) -> None:  # noqa: ANN401
    """Answer the form's questions from the `first` on."""
    for number, each in enumerate(answers, first):
        terminal.expect(rf"\[{number}/8\]")
        terminal.expect("> ")
        terminal.sendline(each)


async def a_file(region: DemoRegion, folder: Path, **changes: str) -> Path:
    """A template as an officer fills it in: lines of the file replaced."""
    code, text, _ = await run(region, "send", "--template", changes.pop("type", "cyber"))
    assert code == 0
    for name, value in changes.items():
        text = re.sub(rf"^{name}: .*$", f"{name}: {value}", text, flags=re.MULTILINE)
    path = folder / "alert.yaml"
    path.write_text(text)
    return path
