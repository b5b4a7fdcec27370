"""A hub put back from a backup: readers follow it at once, and a newer copy is taken from them."""

import shutil
from datetime import timedelta

import pytest

from keys.directory import layout
from keys.directory.bundle import parse_bundle
from keys.errors import DirectoryError
from keys.home import Home
from tests.support.directory import RealRegion
from tests.support.region import NOW

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def put_back(region: RealRegion, then: str) -> None:
    folder = Home(region.folder / "hub").directory
    shutil.rmtree(folder)
    shutil.copytree(region.folder / then, folder)


def put_aside(region: RealRegion, name: str) -> None:
    shutil.copytree(Home(region.folder / "hub").directory, region.folder / name)


async def test_readers_follow_a_hub_that_lost_a_day_of_timestamps(region: RealRegion) -> None:
    put_aside(region, "yesterday")
    for minute in range(1, 30):
        region.renew(NOW + DAY + minute * MINUTE)
    reader, later = region.client(), NOW + DAY + 31 * MINUTE
    await reader.refresh(region.fetch, now=later)
    put_back(region, "yesterday")
    with pytest.raises(DirectoryError, match=r"rollback|expired|older"):
        await reader.refresh(region.fetch, now=later)
    region.renew(later)
    copy = await reader.refresh(region.fetch, now=later)
    assert copy.view.version == region.view().version


async def test_a_newer_copy_of_a_member_is_taken_and_readers_go_on(region: RealRegion) -> None:
    put_aside(region, "yesterday")
    older = region.view().version
    region.suspend("SG", kid=None, now=NOW + MINUTE)
    reader = region.client()
    copy = await reader.refresh(region.fetch, now=NOW + MINUTE)
    put_back(region, "yesterday")
    assert region.view().version == older
    assert region.repository.take(copy.bundle)
    assert region.view().version == copy.view.version
    assert not region.repository.take(copy.bundle)
    region.renew(NOW + 2 * MINUTE)
    again = await reader.refresh(region.fetch, now=NOW + 2 * MINUTE)
    assert again.view.version == copy.view.version


async def test_a_copy_that_is_older_forged_or_another_is_not_taken(region: RealRegion) -> None:
    copy = await region.client().refresh(region.fetch, now=NOW)
    put_aside(region, "yesterday")
    region.suspend("SG", kid=None, now=NOW + MINUTE)
    newest = region.view().version
    assert not region.repository.take(copy.bundle)
    newer = region.repository.bundle()
    agreement = newer.files[layout.AGREEMENT_FILE] + "\n"
    forged = newer.model_copy(update={"files": {**newer.files, layout.AGREEMENT_FILE: agreement}})
    put_back(region, "yesterday")
    with pytest.raises(DirectoryError):
        region.repository.take(parse_bundle(forged.to_bytes()))
    region.suspend("MY", kid=None, now=NOW + MINUTE)  # another one under the same number
    assert region.view().version.snapshot == newest.snapshot
    with pytest.raises(DirectoryError) as caught:
        region.repository.take(newer)
    assert caught.value.code == "directory-split"
