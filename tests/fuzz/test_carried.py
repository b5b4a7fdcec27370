"""A carried file taken whole at a node: whatever is in it, what is held stays, and nothing false.

Each file is whole again outside, with a digest that fits: what was changed is inside its records.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from broker import clock
from broker.carry.done import Done
from broker.carry.files import opened_copy
from broker.carry.form import CarryError, Header, Record, To, What, Writer
from broker.carry.taking import Taken, Taking
from broker.node.node import Node
from broker.node.present import Present
from broker.store.database import open_database
from broker.store.errors import StoreError
from broker.store.tables import metadata
from broker.transport.unlinked import Unlinked
from keys.errors import KeysError
from schemas.moments import milliseconds
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from tests.fuzz.mutations import altered, rebuilt
from tests.support.databases import url_of
from tests.support.directory import RealRegion, found
from tests.support.envelopes import decide, delivery, make
from tests.support.nodes import identity_of
from tests.support.region import TestRegion

pytestmark = pytest.mark.slow

MEMBER = "MY"


@dataclass
class Mail:
    """What is carried to MY.

    Attributes:
        first: A file with one alert.
        second: A later one with two others, and a receipt.
        ids: Of the alert in the first, and of those in the second.
    """

    region: RealRegion
    held: TestRegion
    first: list[Record]
    second: list[Record]
    ids: tuple[set[str], set[str]]


@dataclass
class Carried:
    """A node of MY without a link, in a folder of its own."""

    node: Node
    link: Unlinked
    folder: Path

    async def take(self, records: Sequence[Record], *, hub_ms: int | None = None) -> Taken:
        path, place = self.folder / "came.carry", self.folder / "carry"
        now_ms = milliseconds(clock.now())
        hub_ms = now_ms if hub_ms is None else hub_ms
        with path.open("wb") as file:
            writer = Writer(file, Header(To.NODE, MEMBER, "ab" * 16, now_ms, hub_ms=hub_ms))
            for record in records:
                writer.add(record)
            writer.end()
        tell = lambda _done, _whole: None  # noqa: E731 - nobody looks
        with opened_copy(path, place, member=MEMBER, to=To.NODE) as (copy, whole):
            return await Taking(self.node, self.link, Done(place), copy, whole.header, tell).run()

    async def inbox(self) -> list[str]:
        return sorted(str(item.id) for item in (await self.node.inbox()).items)


@asynccontextmanager
async def opened(mail: Mail, folder: Path) -> AsyncIterator[Carried]:
    present, link = Present(MEMBER), Unlinked()
    present.take(mail.held.view)
    async with open_database(url_of(folder / "my.db"), metadata, sole=True) as database:
        keys, directory = identity_of(mail.held, MEMBER), mail.region.client(folder.name)
        node = Node(present, keys, database, link, folder / "files", directory)
        yield Carried(node, link, folder)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Mail:
    region = found(tmp_path_factory.mktemp("carried") / "region", now=clock.now())
    held = region.as_test_region(region.view(), clock.now())
    made = [make(held, (MEMBER,), counter=at, tail=at, alert_id=UUID(int=at)) for at in (1, 2, 3)]
    copies = [
        Record(What.COPY, "normal", 1, delivery(held, each.sealed.raw, MEMBER)) for each in made
    ]
    directory = [
        Record(What.ANSWER, f"dir.{path}", 0, raw) for path, raw in region.published().items()
    ]
    decision = decide(held, made[1].sealed.raw).to_bytes()
    receipt = encode_receipt(DecisionReceipt(decision, ((MEMBER, Where.STORED),)))
    told = Record(What.RECEIPT, f"receipt.{MEMBER}.{made[1].label.id}", 1, receipt)
    first, *others = (str(each.label.id) for each in made)
    return Mail(
        region,
        held,
        [*directory, copies[0]],
        [*directory, told, *copies[1:]],
        ({first}, set(others)),
    )


@st.composite
def changed(draw: st.DrawFn, records: Sequence[Record]) -> list[Record]:
    """Records left out, repeated, moved, under other names, and of other content."""
    left = list(records)
    for _ in range(draw(st.integers(1, 4))):
        # Mail stands last, and half of the changes are to it.
        low = draw(st.sampled_from([0, max(0, len(left) - 3)]))
        at = draw(st.integers(low, len(left) - 1))
        record = left[at]
        match draw(st.integers(0, 6)):
            case 0 if len(left) > 1:
                del left[at]
            case 1:
                left.insert(draw(st.integers(0, len(left))), record)
            case 2:
                other = draw(st.sampled_from(records))
                left[at] = replace(record, payload=other.payload)
            case 3:
                names = st.sampled_from([each.name for each in records]) | st.text(max_size=20)
                left[at] = replace(record, name=draw(names))
            case 4:
                left[at] = replace(record, number=draw(st.integers(0, 2**53)))
            case 5:
                left[at] = replace(record, payload=draw(altered(record.payload)))
            case _:
                form = "json" if record.what is What.ANSWER else "canonical"
                left[at] = replace(record, payload=draw(rebuilt(record.payload, form)))
    return left


def test_whatever_a_carried_file_holds_good_mail_comes_once_and_nothing_else(
    mail: Mail, tmp_path: Path
) -> None:
    number, quarantined = count(), set[bool]()
    first, second = mail.ids

    async def take(records: Sequence[Record], hub_ms: int | None) -> None:
        folder = tmp_path / str(next(number))
        folder.mkdir(mode=0o700)
        async with opened(mail, folder) as carried:
            assert (await carried.take(mail.first)).directory == ""
            version = carried.node.present.view.version
            try:
                taken = await carried.take(records, hub_ms=hub_ms)
            except (CarryError, StoreError, KeysError):
                assert set(await carried.inbox()) == first
            else:
                quarantined.add(taken.quarantined > 0)
            found = await carried.inbox()
            assert first <= set(found) <= first | second
            assert carried.node.present.view.version == version
            assert (await carried.take(mail.second)).directory == ""
            assert await carried.inbox() == sorted(first | second)

    @settings(
        max_examples=30,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(changed(mail.second), st.none() | st.integers(0, 2**53))
    @example([replace(each, payload=each.payload[:-1]) for each in mail.second], None)
    @example(mail.second, 0)
    def check(records: list[Record], hub_ms: int | None) -> None:
        asyncio.run(take(records, hub_ms))

    check()
    assert quarantined == {True, False}
