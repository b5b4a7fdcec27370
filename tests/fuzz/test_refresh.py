"""A directory fetched whole from a hub that says anything: a refusal of ours, or what was signed.

The hub has two keys of its own, of timestamp and snapshot, so a part of its lies is well signed.
"""

import asyncio
import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Signer

from broker.transport.errors import Unreachable
from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.client import DirectoryClient
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from tests.fuzz.mutations import altered, rebuilt
from tests.support.directory import RealRegion, found
from tests.support.region import NOW

LATER = NOW + timedelta(minutes=10)
TIMESTAMP = layout.metadata_path(layout.TIMESTAMP, 0)
Lies = dict[str, bytes | None]
"""What is shown at a path instead of what lies there; None: the hub does not answer."""


@dataclass
class Scene:
    """A hub with its second version, and what readers held before.

    Attributes:
        files: All that it publishes, by path.
        older: The same of the first version, where that differs.
        held: Folders of readers, of nothing, the first and the second version.
        bundles: The two versions.
    """

    region: RealRegion
    folder: Path
    files: dict[str, bytes]
    older: dict[str, bytes]
    held: tuple[Path, ...]
    bundles: tuple[Bundle, Bundle]

    def reader(self, held: Path) -> DirectoryClient:
        """One that begins with what is held in that folder, and remembers no example before."""
        copy = self.folder / "reader"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(held, copy, symlinks=True)
        return self.client(copy)

    def client(self, folder: Path) -> DirectoryClient:
        return DirectoryClient(folder, pinned_root=self.region.founded.root)


async def refreshed(reader: DirectoryClient, files: Lies, lies: Lies) -> Bundle:
    async def fetch(path: str, *, max_bytes: int) -> bytes | None:  # noqa: ARG001 - as Fetch wants it
        shown = files | lies
        if path in shown and shown[path] is None:
            raise Unreachable("the hub does not answer")
        return shown.get(path)

    return (await reader.refresh(fetch, now=LATER)).bundle


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("refresh")
    region = found(folder / "region")
    held = tuple(folder / name for name in ("nothing", "first", "second"))
    held[0].mkdir(mode=0o700)
    first = region.published()
    clients = [DirectoryClient(each, pinned_root=region.founded.root) for each in held]
    one = asyncio.run(refreshed(clients[1], {**first}, {}))
    region.put_own(region.document("SG").model_copy(update={"names": {"en": "Another"}}), NOW)
    second = region.published()
    two = asyncio.run(refreshed(clients[2], {**second}, {}))
    older = {path: raw for path, raw in first.items() if second.get(path) != raw}
    return Scene(region, folder, second, older, held, (one, two))


def kept(reader: DirectoryClient) -> Bundle | None:
    """What a reader holds, verified once more."""
    copy = reader.load()
    return None if copy is None else copy.bundle


def signed(value: object, signer: Signer) -> bytes | None:
    """Metadata of any content under the hub's own signature; None for what cannot be signed."""
    try:
        payload = encode_canonical(value)
    except Exception:  # noqa: BLE001 - as the library has it: a float, a key that is no text
        return None
    signature = signer.sign((payload or "").encode())
    return json.dumps(
        {"signatures": [signature.to_dict()], "signed": value}, ensure_ascii=True
    ).encode()


def parts(raw: bytes) -> bytes:
    return json.dumps(json.loads(raw)["signed"]).encode()


def named(raw: bytes, version: int) -> dict[str, object]:
    return {"version": version, "length": len(raw), "hashes": {"sha256": sha256(raw).hex()}}


@st.composite
def well_signed(draw: st.DrawFn, scene: Scene) -> Lies:
    """A timestamp of any content, or a snapshot of any content in a timestamp that fits."""
    online = scene.region.founded.online
    timestamp = json.loads(parts(scene.files[TIMESTAMP]))
    timestamp["version"] += 1
    if draw(st.booleans()):
        lie = json.loads(draw(rebuilt(json.dumps(timestamp).encode(), "json")))
        raw = signed(lie, online.timestamp)
        return {} if raw is None else {TIMESTAMP: raw}
    version = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = json.loads(parts(scene.files[layout.metadata_path(layout.SNAPSHOT, version)]))
    snapshot["version"] = version + 1
    lie = json.loads(draw(rebuilt(json.dumps(snapshot).encode(), "json")))
    raw = signed(lie, online.snapshot)
    if raw is None:
        return {}
    timestamp["meta"]["snapshot.json"] = named(raw, version + 1)
    fits = signed(timestamp, online.timestamp)
    return {layout.metadata_path(layout.SNAPSHOT, version + 1): raw, TIMESTAMP: fits}


@st.composite
def shown(draw: st.DrawFn, scene: Scene) -> Lies:
    """Some files as they were, changed, in place of others, or held back; and roots made up."""
    paths = sorted(scene.files)
    lies: Lies = {}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths) | st.sampled_from([TIMESTAMP, *sorted(scene.older)]))
        raw = scene.files.get(path) or scene.older[path]
        match draw(st.integers(0, 6)):
            case 0:
                lies[path] = None
            case 1:
                lies[path] = scene.older.get(path, b"")
            case 2:
                lies[path] = scene.files[draw(st.sampled_from(paths))]
            case 3:
                root = scene.files[layout.metadata_path(layout.ROOT, 1)]
                made = draw(altered(root) | rebuilt(root, "json"))
                lies[layout.metadata_path(layout.ROOT, 2)] = made
            case 4:
                lies[path] = draw(altered(raw))
            case _:
                lies[path] = draw(rebuilt(raw, "json"))
    return lies


def test_whatever_a_hub_shows_is_refused_or_what_the_members_signed(scene: Scene) -> None:
    taken, refused = set[int](), set[str]()

    @settings(
        max_examples=40,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(scene.held), shown(scene) | well_signed(scene))
    @example(scene.held[1], {})
    @example(scene.held[1], {TIMESTAMP: b"{}"})
    @example(scene.held[1], {TIMESTAMP: None})
    def check(held: Path, lies: Lies) -> None:
        reader = scene.reader(held)
        before = kept(reader)
        try:
            bundle = asyncio.run(refreshed(reader, {**scene.files}, lies))
        except DirectoryError as error:
            refused.add(error.code)
            assert kept(reader) == before
            again = asyncio.run(refreshed(reader, {**scene.files}, {}))
            assert again == scene.bundles[1]  # what it was shown did not mislead it
        else:
            found = [each.files for each in scene.bundles].index(bundle.files)
            assert before is None or found >= scene.held.index(held) - 1  # never an older one
            assert kept(reader) == bundle
            taken.add(found)

    check()
    assert 1 in taken
    assert {"bad-metadata", "directory-unreachable"} <= refused
