"""Witness keys and the log's: the ones end and are never taken back, the others are for ever."""

import secrets
from datetime import timedelta

import pytest

from keys.directory.edits import WITNESS_NOTICE, with_witness_key
from keys.errors import DirectoryError
from keys.identity import identity_in, replace_witness_key
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.signing import SignKey
from schemas.directory import LogDocument, MemberDocument
from tests.keys.directory.test_rotation import World
from tests.support.directory import RealRegion
from tests.support.region import NOW

LATER = NOW + timedelta(minutes=1)


def replaced(region: RealRegion, *, stolen: bool) -> MemberDocument:
    """SG's document with another witness key, which its node holds now."""
    store = region.store()
    replace_witness_key(store, now=LATER)
    return with_witness_key(region.document(), identity_in(store), now=LATER, stolen=stolen)


def a_log() -> LogDocument:
    return LogDocument(
        origin="log.example/keys",
        ed25519=SignKey(secrets.token_bytes(32)).public.raw,
        ml_dsa_44=MLDSASignKey.generate().public.raw,
        sequencer=SignKey.generate().public.raw,
    )


@pytest.mark.parametrize("stolen", [False, True])
def test_a_new_witness_key_takes_the_old_ones_place(region: RealRegion, *, stolen: bool) -> None:
    old = region.view().witness_keys(at=NOW)["SG"]
    document = replaced(region, stolen=stolen)
    region.put_own(document, LATER)
    starts = LATER if stolen else LATER + WITNESS_NOTICE
    early = region.view().witness_keys(at=starts - timedelta(seconds=1))
    new = region.view().witness_keys(at=starts)
    assert new["SG"] == MLDSASignKey(region.identity().next_witness_seed).public.raw != old
    assert early["SG"] == old
    assert [key.key for key in document.witness_keys] == [old, new["SG"]]
    assert (document.witness_keys[0].revoked_at is not None) == stolen


def test_a_stolen_witness_key_ends_and_is_never_taken_back(region: RealRegion) -> None:
    before = region.document()
    region.put_own(replaced(region, stolen=True), NOW)
    with pytest.raises(DirectoryError) as caught:
        region.put_own(before, NOW)
    assert caught.value.code == "history-rewritten"


def test_the_logs_keys_are_for_ever(region: RealRegion) -> None:
    world, log = World(region), a_log()
    hub = world.hub()
    world.put_hub(hub.model_copy(update={"log": log}), NOW)
    for other in (a_log(), log.model_copy(update={"sequencer": SignKey.generate().public.raw})):
        with pytest.raises(DirectoryError) as caught:
            world.put_hub(hub.model_copy(update={"log": other}), NOW)
        assert caught.value.code == "history-rewritten"
