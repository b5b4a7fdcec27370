"""A file on its way over a line that is cut, stalled, lossy, thin and parted, each in its turn.

Both nodes have this one line to the hub, so each trouble meets the file going up and coming down.
`KENTONG_LINE_SEED` gives the order of the troubles, and which packets are lost.
"""

import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.hub.place import HubPlace
from broker.node import arrivals, uploads
from schemas.attachment import CHUNK_BYTES
from schemas.desk import ArrivalState
from tests.faults.test_attachments import digest, written
from tests.faults.test_partition import alerts_of
from tests.support.desk import sent
from tests.support.line import Line
from tests.support.processes import running_region
from tests.support.waiting import until
from tests.support.wiredline import running_bad_line

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(900)]
SEED = int(os.environ.get("KENTONG_LINE_SEED", "1"))  # noqa: TID251 - a setting
CHUNKS = 24
BITS_PER_S = 4e6  # half a second for a chunk: the file is on its way in every trouble
LOSS = 0.02
LATE_S = 0.1
AGAIN = 2 * (uploads.WINDOW + arrivals.WINDOW) + 2  # on its way when it was cut and parted; mail
BOUND_S = 300.0  # a silent line shows after fifty seconds
ENDS = ("SG", "MY")


def behind(line: Line, region: DemoRegion) -> None:
    """Let both nodes reach the hub by this line."""
    line.to_ports = (HubPlace(region.hub).config().port,)
    for code in ENDS:
        place = NodePlace(region.home(code))
        config = place.config().model_copy(update={"hub_url": f"tls://localhost:{line.port}"})
        place.write(config, place.authority_pem())


@dataclass
class OnItsWay:
    """The file as MY's node has it.

    Attributes:
        seen: How many chunks lay there, each time somebody looked.
    """

    region: DemoRegion
    desks: dict[str, Client]
    line: Line
    seen: list[int] = field(default_factory=lambda: [0])

    def look(self) -> int:
        """Note how many chunks are there: the node itself says it more rarely."""
        home = self.region.home("MY")
        self.seen.append(len({path.name for path in home.rglob("0-[0-9]*")}))
        return self.seen[-1]

    async def has(self, chunks: int) -> None:
        """Return once so many chunks are there."""

        async def met() -> bool:
            return self.look() >= chunks

        await self.come(met, f"there were never {chunks} chunks")

    async def come(self, met: Callable[[], Awaitable[bool]], missing: str) -> None:
        await until(met, BOUND_S, lambda: missing)

    async def connected(self, *, wanted: bool) -> None:
        """Return once both nodes say so."""

        async def met() -> bool:
            found = [(await self.desks[code].node_status()).connected for code in ENDS]
            return found == [wanted, wanted]

        await self.come(met, f"no two nodes are connected={wanted}")

    async def suffer(self, trouble: str) -> None:
        """Let the line be so until nodes or file have felt it."""
        before = self.line.felt
        troubles: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
            "cut": self.line.cut,
            "stalled": self.line.stalled,
            "lossy": lambda: self.line.lossy(LOSS),
            "thin": lambda: self.line.slow(LATE_S),
            "parted": self.line.parted,
        }
        async with troubles[trouble]():
            if trouble in {"cut", "parted"}:
                await self.connected(wanted=False)
            elif trouble == "stalled":
                await self.come(self._felt(before), "nothing met the stalled line")
            else:
                await self.has(self.seen[-1] + 2)
        assert trouble == "cut" or self.line.felt > before

    def _felt(self, before: int) -> Callable[[], Awaitable[bool]]:
        async def met() -> bool:
            return self.line.felt > before

        return met


async def test_a_file_goes_on_over_a_line_with_every_trouble_and_never_begins_anew(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.bin"
    whole = written(film, CHUNKS * CHUNK_BYTES - 1234)
    troubles = ["cut", "stalled", "lossy", "thin", "parted"]
    random.Random(SEED).shuffle(troubles)  # noqa: S311 - not for a secret
    async with (
        running_bad_line(tmp_path / "line", seed=SEED) as line,
        running_region(
            tmp_path / "r",
            prepare=lambda region: behind(line, region),
            launchers=dict.fromkeys(ENDS, line.command),
        ) as (region, _, desks),
        line.thin(BITS_PER_S),
    ):
        way = OnItsWay(region, desks, line)
        await way.connected(wanted=True)
        before = line.passed
        envelope = await sent(desks["SG"], film)
        await way.come(lambda: here(desks["MY"]), "the alert never came")
        for number, trouble in enumerate(troubles):
            await way.has(1 + number * CHUNKS // (len(troubles) + 1))
            assert way.seen[-1] < CHUNKS, (trouble, "the file is there already")
            await way.suffer(trouble)
        await way.has(CHUNKS)
        await way.come(lambda: complete(desks["MY"], envelope), "the file is never complete")
        again = (line.passed - before) / SEALED_CHUNK_BYTES - 2 * CHUNKS  # up, and down
        print(f"seed {SEED}, {troubles}: {again:.2f} chunks beyond once up and once down")  # noqa: T201 - shown with -s
        assert again < AGAIN
        assert way.seen == sorted(way.seen)
        out = tmp_path / "out.bin"
        await desks["MY"].save_attachment(envelope, 1, out)  # type: ignore[arg-type]
        assert digest(out) == whole
        assert list((await alerts_of(desks["MY"])).values()) == [1]


async def here(client: Client) -> bool:
    return await alerts_of(client) != Counter()


async def complete(client: Client, envelope: object) -> bool:
    (shown,) = (await client.show(envelope)).attachments  # type: ignore[arg-type]
    return shown.state is ArrivalState.COMPLETE
