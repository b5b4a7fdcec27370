"""A reader whose hub lies: with its own two keys, with others' old signatures, or with rubbish.

Each lie is refused with our error, the copy kept stays, and an honest hub is believed again. What
cannot be refused, a frozen or selective view, is found out by what peers name in their labels.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from broker.node.present import Present
from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.client import DirectoryClient, SplitDirectoryError
from keys.directory.metadata import (
    Metadata,
    MetaFile,
    Snapshot,
    Timestamp,
    read_metadata,
)
from keys.directory.repository import DirectoryRepository
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from tests.support.directory import RealRegion
from tests.support.nodes import Clock
from tests.support.region import NOW

MINUTE = timedelta(minutes=1)
LATER = NOW + 10 * MINUTE
DOCUMENT = "members/SG/member.json"


@dataclass
class Hostile:
    """The hub of `region`, which shows `lies` in place of what it publishes."""

    region: RealRegion
    lies: dict[str, bytes | None] = field(default_factory=dict)

    async def fetch(self, path: str, *, max_bytes: int) -> bytes | None:
        if path in self.lies:
            return self.lies[path]
        return await self.region.fetch(path, max_bytes=max_bytes)

    @property
    def bundle(self) -> Bundle:
        return self.region.repository.bundle()

    def sign_timestamp(self, snapshot: bytes, *, now: datetime = LATER) -> None:
        """Name this snapshot in a fresh timestamp, as the holder of the online keys can."""
        old = read_metadata(Timestamp, self.bundle.timestamp.encode(), max_bytes=10**6).signed
        version = read_metadata(Snapshot, snapshot, max_bytes=10**6).signed.version
        signed = Timestamp(
            version=old.version + 1,
            expires=now + layout.TIMESTAMP_LASTS,
            snapshot_meta=metafile(version, snapshot),
        )
        metadata = Metadata(signed)
        metadata.sign(self.region.founded.online.timestamp)
        self.lies["metadata/timestamp.json"] = metadata.to_bytes()

    def sign_snapshot(self, named: dict[str, tuple[int, bytes]]) -> None:
        """Name these bytes as the roles' metadata in a fresh snapshot, and that in a timestamp."""
        signed = read_metadata(Snapshot, self.bundle.snapshot.encode(), max_bytes=10**6).signed
        signed.version += 1
        for role, (version, raw) in named.items():
            signed.meta[f"{role}.json"] = metafile(version, raw)
            self.lies[layout.metadata_path(role, version)] = raw
        metadata = Metadata(signed)
        metadata.sign(self.region.founded.online.snapshot)
        raw = metadata.to_bytes()
        self.lies[layout.metadata_path(layout.SNAPSHOT, signed.version)] = raw
        self.sign_timestamp(raw)

    def path(self, role: str) -> str:
        """Where the newest metadata of a role is."""
        trusted = self.region.founded.trusted()
        if role == layout.TIMESTAMP:
            return layout.metadata_path(role, 0)
        if role == layout.SNAPSHOT:
            return layout.metadata_path(role, trusted.snapshot.version)
        return layout.metadata_path(role, trusted.snapshot.meta[f"{role}.json"].version)

    def file(self, path: str) -> str:
        """Where the newest target file of this path is."""
        raw = self.region.founded.trusted().content.files[path]
        return layout.target_path(path, sha256(raw).hex())


@dataclass
class Scene:
    """A reader that holds the first version, a hub at the second, and files of both.

    Attributes:
        first: All files of the first version.
        hub: What the reader is shown next.
    """

    region: RealRegion
    reader: DirectoryClient
    first: Bundle
    hub: Hostile


def metafile(version: int, raw: bytes) -> MetaFile:
    return MetaFile(version=version, length=len(raw), hashes={"sha256": sha256(raw).hex()})


def publish(region: RealRegion, name: str, now: datetime) -> None:
    """SG's next version, in which SG is called `name`."""
    document = region.document("SG").model_copy(update={"names": {"en": name}})
    region.put_own(document, now)


def role_of(region: RealRegion, role: str, signers: tuple[str, ...]) -> tuple[int, bytes]:
    """The next version of a role, signed by these members and nobody else."""
    draft = region.draft(LATER)
    draft.renew(role)
    part = draft.proposal().part(role)
    assert part
    metadata = part.read()
    for code in signers:
        metadata.sign(region.founded.signers[code], append=True)
    return metadata.signed.version, metadata.to_bytes()


@pytest.fixture
async def scene(region: RealRegion) -> Scene:
    publish(region, "one", NOW)
    for _ in range(3):
        region.renew(NOW)
    reader = region.client()
    await reader.refresh(region.fetch, now=NOW)
    first = region.repository.bundle()
    draft = region.draft(LATER)
    draft.renew(layout.TARGETS)
    region.enact(draft, ("SG", "MY", "VN"), LATER)
    publish(region, "two", LATER)
    return Scene(region, reader, first, Hostile(region))


def old_timestamp(scene: Scene) -> None:
    """An older timestamp than the reader has seen."""
    old = scene.region.copied(scene.region.folder.with_name("old"))
    before = read_metadata(Timestamp, scene.first.timestamp.encode(), max_bytes=10**6).signed
    before.version -= 1
    metadata = Metadata(before)
    metadata.sign(old.founded.online.timestamp)
    scene.hub.lies["metadata/timestamp.json"] = metadata.to_bytes()


def old_snapshot(scene: Scene) -> None:
    """A fresh timestamp over a snapshot that is older than the reader's."""
    raw = scene.region.repository.read(layout.metadata_path(layout.SNAPSHOT, 1))
    assert raw
    scene.hub.sign_timestamp(raw)


def old_targets(scene: Scene) -> None:
    """A fresh snapshot with the first targets, for a reader that has the second."""
    raw = scene.region.repository.read(layout.metadata_path(layout.TARGETS, 1))
    assert raw
    scene.hub.sign_snapshot({layout.TARGETS: (1, raw)})


def old_role(scene: Scene) -> None:
    """A fresh snapshot with SG's role as it was founded, whose revocations it would undo."""
    raw = scene.region.repository.read(layout.metadata_path("member-SG", 1))
    assert raw
    scene.hub.sign_snapshot({"member-SG": (1, raw)})


def wrong_member(scene: Scene) -> None:
    """SG's part of the directory under MY's signature."""
    forged = role_of(scene.region, "member-SG", ("MY",))
    scene.hub.sign_snapshot({"member-SG": forged})


def below_threshold(scene: Scene) -> None:
    """The region's part under two signatures of three."""
    forged = role_of(scene.region, layout.TARGETS, ("SG", "MY"))
    scene.hub.sign_snapshot({layout.TARGETS: forged})


def one_suspends(scene: Scene) -> None:
    """A suspension by one member alone."""
    forged = role_of(scene.region, layout.REVOCATIONS, ("SG",))
    scene.hub.sign_snapshot({layout.REVOCATIONS: forged})


def root_by_two(scene: Scene) -> None:
    """Another root, signed by less than its threshold."""
    forged = role_of(scene.region, layout.ROOT, ("SG", "MY"))
    scene.hub.lies[layout.metadata_path(layout.ROOT, forged[0])] = forged[1]


def _fork(scene: Scene) -> DirectoryRepository:
    fork = scene.region.copied(scene.region.folder.with_name("fork"))
    publish(fork, "another", LATER)
    publish(scene.region, "three", LATER)
    return fork.repository


def mixed_snapshot(scene: Scene) -> None:
    """The timestamp of one, the snapshot of the other, both of the same version."""
    path = scene.hub.path
    fork = _fork(scene)
    scene.hub.lies[path(layout.SNAPSHOT)] = fork.read(path(layout.SNAPSHOT))


def mixed_role(scene: Scene) -> None:
    """The snapshot of one, SG's part of the other, both of the same version."""
    fork = _fork(scene)
    path = scene.hub.path("member-SG")
    scene.hub.lies[path] = fork.read(path)
    raw = fork.trusted().content.files[DOCUMENT]
    scene.hub.lies[layout.target_path(DOCUMENT, sha256(raw).hex())] = raw


def mixed_file(scene: Scene) -> None:
    """A file of the one under the name that the other gives to it."""
    fork = _fork(scene)
    scene.hub.lies[scene.hub.file(DOCUMENT)] = fork.trusted().content.files[DOCUMENT]


def no_snapshot_entry(scene: Scene) -> None:
    """A fresh snapshot that leaves out a member's role."""
    signed = read_metadata(Snapshot, scene.hub.bundle.snapshot.encode(), max_bytes=10**6).signed
    signed.version += 1
    del signed.meta["member-TH.json"]
    metadata = Metadata(signed)
    metadata.sign(scene.region.founded.online.snapshot)
    raw = metadata.to_bytes()
    scene.hub.lies[layout.metadata_path(layout.SNAPSHOT, signed.version)] = raw
    scene.hub.sign_timestamp(raw)


def own_snapshot_key(scene: Scene) -> None:
    """The hub signs a member's role itself."""
    draft = scene.region.draft(LATER)
    draft.renew("member-SG")
    part = draft.proposal().part("member-SG")
    assert part
    metadata = part.read()
    metadata.sign(scene.region.founded.online.snapshot)
    scene.hub.sign_snapshot({"member-SG": (metadata.signed.version, metadata.to_bytes())})


LIES: dict[str, tuple[Callable[[Scene], None], str]] = {
    "an older timestamp": (old_timestamp, "rollback"),
    "an older snapshot": (old_snapshot, "rollback"),
    "older targets": (old_targets, "rollback"),
    "an older role": (old_role, "rollback"),
    "a role of another member": (wrong_member, "below-threshold"),
    "a role of the hub's own": (own_snapshot_key, "below-threshold"),
    "targets below the threshold": (below_threshold, "below-threshold"),
    "a root below the threshold": (root_by_two, "below-threshold"),
    "a suspension by one": (one_suspends, "below-threshold"),
    "another's snapshot": (mixed_snapshot, "bad-metadata"),
    "another's role": (mixed_role, "mixed-versions"),
    "another's file": (mixed_file, "mixed-versions"),
    "a member left out": (no_snapshot_entry, "bad-metadata"),
}


async def refused(scene: Scene, code: str, *, now: datetime = LATER) -> None:
    """The reader refuses what it is shown, and keeps what it had; honesty is believed again."""
    before = scene.reader.load()
    assert before
    with pytest.raises(DirectoryError) as error:
        await scene.reader.refresh(scene.hub.fetch, now=now)
    assert error.value.code == code
    kept = scene.reader.load()
    assert kept
    assert (kept.bundle, kept.view.version) == (before.bundle, before.view.version)
    copy = await scene.reader.refresh(scene.region.fetch, now=LATER)
    assert copy.view.version == scene.region.view().version
    assert copy.view.version.snapshot > before.view.version.snapshot
    again = scene.reader.load()
    assert again
    assert again.bundle == copy.bundle


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_and_does_no_harm(scene: Scene, lie: str) -> None:
    tell, code = LIES[lie]
    if lie == "older targets":  # the reader must have seen the newer ones
        await scene.reader.refresh(scene.region.fetch, now=LATER)
        publish(scene.region, "three", LATER)
    tell(scene)
    await refused(scene, code)


TAMPERED = {  # a changed byte is found where the file is named by its hash, or is signed
    layout.TIMESTAMP: "below-threshold",
    layout.SNAPSHOT: "bad-metadata",
    layout.TARGETS: "bad-metadata",
    "member-SG": "mixed-versions",
    DOCUMENT: "mixed-versions",
}


def where(scene: Scene, name: str) -> str:
    return scene.hub.file(name) if name == DOCUMENT else scene.hub.path(name)


@pytest.mark.parametrize(("name", "code"), TAMPERED.items())
async def test_a_changed_byte_is_found(scene: Scene, name: str, code: str) -> None:
    path = where(scene, name)
    raw = scene.region.repository.read(path)
    assert raw
    said = b'"two"' if name == DOCUMENT else b'"expires":"2'
    assert said in raw
    scene.hub.lies[path] = raw.replace(said, said.replace(b"t", b"T").replace(b"2", b"3"))
    await refused(scene, code)


@pytest.mark.parametrize("name", TAMPERED)
async def test_rubbish_is_refused(scene: Scene, name: str) -> None:
    scene.hub.lies[where(scene, name)] = b"\xff rubbish"
    with pytest.raises(DirectoryError) as error:
        await scene.reader.refresh(scene.hub.fetch, now=LATER)
    assert error.value.code in {"bad-metadata", "mixed-versions", "bad-bundle"}
    await refused(scene, error.value.code)


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_missing_file_is_no_smaller_directory(scene: Scene, name: str) -> None:
    scene.hub.lies[where(scene, name)] = None
    await refused(scene, "directory-unreachable")


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_file_longer_than_its_bound_is_not_taken(scene: Scene, name: str) -> None:
    scene.hub.lies[where(scene, name)] = b" " * (layout.MAX_TARGETS_BYTES + 1)
    await refused(scene, "directory-unreachable")


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_file_without_end_ends_the_refresh_and_not_the_reader(
    scene: Scene, name: str
) -> None:
    path, began = where(scene, name), asyncio.Event()

    async def endless(asked: str, *, max_bytes: int) -> bytes | None:
        if asked == path:
            began.set()
            await asyncio.Event().wait()
        return await scene.region.fetch(asked, max_bytes=max_bytes)

    hasty = DirectoryClient(
        scene.reader.folder, pinned_root=scene.region.founded.root, timeout_s=0.05
    )
    with pytest.raises(DirectoryError) as error:
        await hasty.refresh(endless, now=LATER)
    assert began.is_set()
    assert error.value.code == "directory-unreachable"
    assert (await scene.reader.refresh(scene.region.fetch, now=LATER)).view.version.snapshot > 1


async def test_a_refresh_that_is_cancelled_leaves_the_reader_well(scene: Scene) -> None:
    began = asyncio.Event()

    async def endless(path: str, *, max_bytes: int) -> bytes | None:  # noqa: ARG001 - a Fetch
        began.set()
        await asyncio.Event().wait()
        return None

    hasty = DirectoryClient(
        scene.reader.folder, pinned_root=scene.region.founded.root, timeout_s=0.2
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hasty.refresh(endless, now=LATER))
        await began.wait()
        task.cancel()
    assert task.cancelled()
    assert await scene.reader.refresh(scene.region.fetch, now=LATER)


FROZEN: dict[str, tuple[datetime, tuple[str, ...]]] = {
    # what is never signed again: when it expires, and what is signed again beneath or beside it
    layout.TIMESTAMP: (LATER + layout.TIMESTAMP_LASTS, ()),
    layout.SNAPSHOT: (LATER + layout.SNAPSHOT_LASTS, (layout.TIMESTAMP,)),
    layout.REVOCATIONS: (NOW + layout.DELEGATION_LASTS, ("member-SG",)),
    layout.TARGETS: (LATER + layout.TARGETS_LASTS, (layout.REVOCATIONS,)),
    layout.ROOT: (NOW + layout.ROOT_LASTS, (layout.TARGETS, layout.REVOCATIONS)),
}


@pytest.mark.parametrize("name", FROZEN)
async def test_what_is_frozen_expires(scene: Scene, name: str) -> None:
    end, others = FROZEN[name]
    before = end - 5 * MINUTE
    for role in others:
        if role == layout.TIMESTAMP:
            hub_raw = scene.region.repository.read(scene.hub.path(layout.SNAPSHOT))
            assert hub_raw
            scene.hub.sign_timestamp(hub_raw, now=before)
        else:
            draft = scene.region.draft(before)
            draft.renew(role)
            by = ("SG",) if layout.member_of(role) else ("SG", "MY", "VN")
            scene.region.enact(draft, by, before)
    await scene.reader.refresh(scene.hub.fetch, now=before)
    with pytest.raises(DirectoryError) as error:
        await scene.reader.refresh(scene.hub.fetch, now=end)
    assert error.value.code == "directory-expired"
    kept = scene.reader.load()
    assert kept
    kept.view.check_fresh(end - timedelta(seconds=1))
    with pytest.raises(DirectoryError):
        kept.view.check_fresh(end)


async def test_a_fresh_timestamp_over_an_old_snapshot_is_believed_until_a_peer_says_more(
    scene: Scene,
) -> None:
    """TUF cannot refuse it: the hub holds both online keys. A peer's label gives it away."""
    scene.hub.sign_timestamp(scene.first.snapshot.encode())
    copy = await scene.reader.refresh(scene.hub.fetch, now=LATER)
    assert copy.view.version.hash == sha256(scene.first.snapshot.encode())
    peer = await scene.region.client("peer").refresh(scene.region.fetch, now=LATER)

    time = Clock()
    time.stopped = LATER
    present = Present("MY", now=time, steady=time.steady)
    present.take(copy.view)
    present.meet(peer.view.version)
    assert present.hindrance() == ""  # it may be on its way
    present.take((await scene.reader.refresh(scene.hub.fetch, now=LATER)).view)
    time.stopped += 10 * MINUTE + timedelta(seconds=1)
    assert present.hindrance() == "directory-split"


async def test_another_content_under_the_version_held_is_a_split_with_both_in_hand(
    scene: Scene,
) -> None:
    fork = scene.region.copied(scene.region.folder.with_name("fork"))
    publish(scene.region, "three", LATER)
    publish(fork, "another", LATER)
    ours = await scene.reader.refresh(scene.region.fetch, now=LATER)
    for _ in range(3):
        fork.renew(LATER)
    with pytest.raises(SplitDirectoryError) as error:
        await scene.reader.refresh(fork.fetch, now=LATER)
    assert error.value.code == "directory-split"
    assert error.value.ours == ours.bundle
    assert error.value.theirs == fork.repository.bundle()
    kept = scene.reader.load()
    assert kept
    assert kept.bundle == ours.bundle  # the one held first stays
    for _ in range(5):
        scene.region.renew(LATER)
    publish(scene.region, "four", LATER)
    assert (await scene.reader.refresh(scene.region.fetch, now=LATER)).view.version.snapshot > (
        ours.view.version.snapshot
    )


async def test_a_reader_that_begins_believes_the_pinned_root_alone(
    scene: Scene,
) -> None:
    root = scene.region.founded.root.replace(b'"expires":"2', b'"expires":"3')
    reader = DirectoryClient(scene.region.folder / "misled", pinned_root=root)
    with pytest.raises(DirectoryError) as error:
        await reader.refresh(scene.region.fetch, now=LATER)
    assert error.value.code == "below-threshold"
    assert reader.load() is None


async def test_a_copy_changed_on_disk_is_not_believed_and_is_replaced(scene: Scene) -> None:
    path = scene.reader.folder / "directory.json"
    path.write_bytes(path.read_bytes().replace(b'\\"en\\": \\"one\\"', b'\\"en\\": \\"two\\"'))
    with pytest.raises(DirectoryError):
        scene.reader.load()
    assert (await scene.reader.refresh(scene.region.fetch, now=LATER)).view.version.snapshot > 1
    assert scene.reader.load()
