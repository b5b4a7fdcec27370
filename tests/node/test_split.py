"""A hub that shows two directories: proof is kept, people are told, and sealing stops in time."""

import json
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker.envelope.signed import Frame
from broker.envelope.submitted import parse_submitted
from broker.node import alarms
from broker.node.evidence import (
    MAX_KEPT,
    NAMED,
    OURS,
    THEIRS,
    EvidenceFolder,
    Split,
    named_by_gateway,
    named_by_member,
)
from broker.node.present import SPLIT_GRACE, Present
from broker.store.database import Database, StoreError, open_database, sqlite_url
from broker.store.tables import metadata
from keys.directory.bundle import parse_bundle
from keys.directory.client import SplitDirectoryError
from keys.directory.trust import TrustedDirectory
from keys.errors import KeyFileError
from keys.primitives.hashing import sha256
from keys.primitives.signing import VerifyKey
from schemas.desk import Alarm
from schemas.label import DirectoryVersion
from tests.support.databases import Databases
from tests.support.directory import RealRegion, found
from tests.support.envelopes import decide, make
from tests.support.nodes import Clock
from tests.support.region import NOW

PROOF = b'{"by": "MY"}\n'
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> RealRegion:
    return found(tmp_path_factory.mktemp("founded") / "region")


@pytest.fixture
def region(founded: RealRegion, tmp_path: Path) -> RealRegion:
    return founded.copied(tmp_path / "region")


@pytest_asyncio.fixture
async def database(databases: Databases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as database:
        yield database


@pytest_asyncio.fixture
async def present(region: RealRegion) -> Present:
    """MY's node, with the directory in hand and a clock that stands still."""
    client = region.client("MY/node/directory")
    clock = Clock()
    clock.stopped = NOW
    present = Present("MY", now=clock, steady=clock.steady, evidence=EvidenceFolder(client))
    present.take((await client.refresh(region.fetch, now=NOW)).view)
    return present


def other(present: Present, ahead: int = 0) -> DirectoryVersion:
    """A version that is not the one held, `ahead` of it."""
    ours = present.view.version
    return DirectoryVersion(root=ours.root, snapshot=ours.snapshot + ahead, hash=sha256(b"other"))


def pass_time(present: Present, by: timedelta) -> None:
    assert isinstance(present.now, Clock)
    assert present.now.stopped
    present.now.stopped += by


async def stored(database: Database) -> tuple[Alarm, ...]:
    async with database.read() as connection:
        return await alarms.all_alarms(connection)


async def test_another_content_that_was_fetched_is_kept_beside_ours(
    region: RealRegion, present: Present, database: Database
) -> None:
    fork = region.copied(region.folder.with_name("fork"))
    for one, name in ((region, "one"), (fork, "another")):
        document = one.document("SG").model_copy(update={"names": {"en": name}})
        one.put_own(document, NOW)
    client = region.client("MY/node/directory")
    ours = await client.refresh(region.fetch, now=NOW)
    for _ in range(3):
        fork.renew(NOW)
    with pytest.raises(SplitDirectoryError) as split:
        await client.refresh(fork.fetch, now=NOW)
    files = {OURS: split.value.ours.to_bytes(), THEIRS: split.value.theirs.to_bytes()}
    present.take(ours.view)
    present.meet_split(files)
    await alarms.say_split(database, present)

    (alarm,) = await stored(database)
    place = Path(alarm.detail)
    assert place.parent == region.folder / "MY/node/evidence/directory-split"
    kept = [parse_bundle((place / name).read_bytes()) for name in (OURS, THEIRS)]
    found = [TrustedDirectory(each, pinned_root=region.founded.root) for each in kept]
    assert found[0].version.snapshot == found[1].version.snapshot
    assert found[0].version.hash != found[1].version.hash
    assert (place / OURS).stat().st_mode & 0o077 == 0


async def test_what_a_peer_names_is_kept_with_its_signature(
    region: RealRegion, present: Present, database: Database
) -> None:
    test_region = region.as_test_region(present.view, NOW)
    made = make(test_region, ("MY",), at=NOW, expires=NOW + timedelta(days=20))
    frame: Frame = parse_submitted(made.sealed.raw).frame
    proof = json.loads(named_by_member(frame))
    key = VerifyKey(test_region.members["SG"].sign_key.public.raw)
    key.verify(bytes.fromhex(proof["signature"]), bytes.fromhex(proof["signed"]))
    assert sha256(bytes.fromhex(proof["label"])).hex() in proof["signed"]
    assert frame.ciphertext.hex() not in json.dumps(proof)

    present.meet(other(present), named_by_gateway(decide(test_region, made.sealed.raw)))
    await alarms.say_split(database, present)
    (alarm,) = await stored(database)
    told = json.loads((Path(alarm.detail) / NAMED).read_bytes())
    assert told["by"] == "gateway"
    assert parse_bundle((Path(alarm.detail) / OURS).read_bytes())


async def test_a_split_stops_sealing_after_ten_minutes_and_is_said_once(
    present: Present, database: Database
) -> None:
    for _ in range(3):
        assert present.meet(other(present), PROOF) == "directory-split"
        await alarms.say_split(database, present)
    (alarm,) = await stored(database)
    assert (alarm.code, alarm.count) == ("directory-split", 1)
    pass_time(present, SPLIT_GRACE)
    assert present.hindrance() == ""
    pass_time(present, SECOND)
    assert present.hindrance() == "directory-split"


async def test_no_clock_that_is_set_starts_or_stops_the_sealing(present: Present) -> None:
    assert isinstance(present.now, Clock)
    present.meet(other(present), PROOF)
    pass_time(present, SPLIT_GRACE - SECOND)
    present.now.jumped = 2 * SECOND
    assert present.hindrance() == ""
    present.now.jumped = -60 * SECOND
    pass_time(present, 2 * SECOND)
    assert present.hindrance() == "directory-split"


async def test_what_the_gateway_refused_as_split_stays_so_when_the_clock_is_set_back(
    present: Present,
) -> None:
    assert isinstance(present.now, Clock)
    present.stop_sealing()
    assert present.hindrance() == "directory-split"
    present.now.jumped = -60 * SECOND
    assert present.hindrance() == "directory-split"


async def test_a_version_that_the_hub_does_not_show_is_a_split(
    region: RealRegion, present: Present, database: Database
) -> None:
    named = other(present, ahead=1)
    assert present.meet(named, PROOF) == ""
    await alarms.say_split(database, present)
    assert await stored(database) == ()  # it may be on its way
    present.take(present.view)  # fetched after it was named, and still the old one
    present.miss(named)
    await alarms.say_split(database, present)
    (alarm,) = await stored(database)
    assert (Path(alarm.detail) / NAMED).read_bytes() == PROOF

    # A newer one that is still behind what was named does not end it.
    region.put_own(region.document("SG"), NOW)
    further = other(present, ahead=5)
    present.meet(further, PROOF)
    present.take(region.view())
    pass_time(present, SPLIT_GRACE + SECOND)
    assert present.hindrance() == "directory-split"


async def test_the_version_named_ends_the_wait_if_it_is_the_same_one(
    region: RealRegion, present: Present
) -> None:
    region.put_own(region.document("SG"), NOW)
    present.meet(region.view().version, PROOF)
    assert present.split_since
    present.take(region.view())
    pass_time(present, SPLIT_GRACE + SECOND)
    assert (present.hindrance(), present.unsaid) == ("", None)


async def test_the_version_named_with_other_contents_is_a_split(
    region: RealRegion, present: Present
) -> None:
    present.meet(other(present, ahead=1), PROOF)
    region.put_own(region.document("SG"), NOW)
    present.take(region.view())
    assert present.unsaid
    assert present.unsaid.files == {NAMED: PROOF}
    pass_time(present, SPLIT_GRACE + SECOND)
    assert present.hindrance() == "directory-split"


async def test_another_content_of_a_version_left_behind_is_told_and_stops_nothing(
    region: RealRegion, present: Present, database: Database
) -> None:
    before = other(present)
    region.put_own(region.document("SG"), NOW)
    present.take(region.view())
    assert present.meet(before, PROOF) == ""
    await alarms.say_split(database, present)
    assert [alarm.code for alarm in await stored(database)] == ["directory-split"]
    pass_time(present, SPLIT_GRACE + SECOND)
    assert present.hindrance() == ""


async def test_evidence_that_cannot_be_kept_delays_no_alarm(
    region: RealRegion, present: Present, database: Database
) -> None:
    (region.folder / "MY/node/evidence").write_bytes(b"where a folder should be")
    present.meet(other(present), PROOF)
    await alarms.say_split(database, present)
    (alarm,) = await stored(database)
    assert alarm.detail == "evidence not kept: no-folder"


@contextmanager
def full_disk(room_bytes: int) -> Iterator[None]:
    """No file of this process may grow further. Source: getrlimit(2), RLIMIT_FSIZE."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_a_full_disk_leaves_no_half_of_the_evidence_and_the_alarm_is_raised(
    region: RealRegion, present: Present, tmp_path: Path
) -> None:
    """The disk of this process, so the database is SQLite's."""
    present.meet(other(present), PROOF)
    split, evidence = present.unsaid, present.evidence
    assert split
    assert evidence
    with full_disk(1024), pytest.raises(KeyFileError):
        evidence.keep(split)
    folder = region.folder / "MY/node/evidence/directory-split"
    assert list(folder.iterdir()) == []

    async with open_database(sqlite_url(tmp_path / "own.db"), metadata) as database:
        with full_disk(1024), pytest.raises(StoreError) as refused:
            await alarms.say_split(database, present)
        assert refused.value.code == "disk-full"
        # Nothing could be written, so the node's status says it from memory.
        (alarm,) = alarms.unsaid_alarms(present)
        assert (alarm.code, alarm.detail) == ("directory-split", "evidence not kept: cannot-write")
        await alarms.say_split(database, present)
        assert [each.code for each in await stored(database)] == ["directory-split"]
    assert alarms.unsaid_alarms(present) == ()


def test_of_many_splits_the_first_are_kept(region: RealRegion) -> None:
    evidence = EvidenceFolder(region.client("MY/node/directory"))
    places = {
        evidence.keep(Split(NOW + number * SECOND, {NAMED: str(number).encode()}))
        for number in range(MAX_KEPT + 4)
    }
    assert len(places) == MAX_KEPT + 1  # and the folder itself, for those not kept
    assert len(list(evidence.folder.iterdir())) == MAX_KEPT


async def test_what_expires_soon_is_an_alarm_with_who_must_sign(present: Present) -> None:
    assert alarms.unsaid_alarms(present) == ()
    pass_time(present, timedelta(days=21))
    found = {alarm.detail.split()[0]: alarm for alarm in alarms.unsaid_alarms(present)}
    assert set(found) == {"member-SG", "member-MY", "member-VN", "member-TH", "revocations"}
    assert {alarm.code for alarm in found.values()} == {"directory-expires-soon"}
    assert (found["member-SG"].peer, found["revocations"].peer) == ("SG", None)
