"""What the hub exported is opened offline, leaf by leaf, and holds against the log."""

from pathlib import Path

import pytest

from broker import clock
from broker.audit.bundle import opened
from broker.audit.unsealing import Unsealing
from broker.log.audited import seal_audited
from broker.log.commitments import statement_of
from broker.log.leaf import STREAM_BYTES
from broker.log.opening import OpeningSealer
from broker.log.recordkeys import RecordKey
from broker.log.tiles import encode_bundle
from keys.kid import kid_of
from keys.primitives.sealing import OpenKey
from tests.support.envelopes import decide, make
from tests.support.region import make_region

REGION = make_region(("SG", "MY"), now=clock.now())
KEY = OpenKey.generate()
RECORD_KEY = RecordKey.generate()
TO = (kid_of(KEY.public.raw), KEY.public)


def sealed_log(folder: Path, count: int) -> list[bytes]:
    """A bundle of `count` decisions and a folder of their sealed openings; the openings."""
    sealer, entries, told = OpeningSealer(), [], []
    (folder / "sealed").mkdir()
    for number in range(count):
        decision = decide(REGION, make(REGION, ("MY",)).sealed.raw)
        signed = statement_of(decision, boot=1, seq=number).sign(REGION.gateway_sign_key)
        opening = seal_audited(signed, decision, RECORD_KEY, sealer, TO).record.opening
        assert opening is not None
        (folder / "sealed" / f"{opening.name}.sealed").write_bytes(opening.to_bytes())
        entries.append(signed.found_at(bytes(STREAM_BYTES), number).to_bytes())
        told.append(decision.to_bytes())
    entries.append(b"a leaf that this software does not read")
    bundle = folder / "bundle"
    tile = bundle / "tile" / "entries" / f"000.p/{count + 1}"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(encode_bundle(entries))
    root = "A" * 43 + "="
    signature = "\u2014 log.example AAAAAAAA\n"
    (bundle / "checkpoint").write_text(f"log.example\n{count + 1}\n{root}\n\n{signature}", "utf-8")
    return told


def test_each_opens_to_the_decision_of_its_leaf(tmp_path: Path) -> None:
    told = sealed_log(tmp_path, 3)
    with opened(tmp_path / "bundle") as bundle:
        unsealing = Unsealing(tmp_path / "sealed", bundle, KEY)
        assert list(unsealing.openings()) == list(enumerate(told))
    assert not unsealing.refused


@pytest.mark.parametrize("key", [KEY, OpenKey.generate()], ids=["swapped", "other key"])
def test_what_does_not_open_is_named_and_stops_nothing(tmp_path: Path, key: OpenKey) -> None:
    told = sealed_log(tmp_path, 2)
    first, second = sorted((tmp_path / "sealed").iterdir())
    first.write_bytes(b"rubbish")
    with opened(tmp_path / "bundle") as bundle:
        unsealing = Unsealing(tmp_path / "sealed", bundle, key)
        good = [raw for _, raw in unsealing.openings()]
    if key is KEY:
        assert unsealing.refused == {first.stem: "bad-opening"}
        assert len(good) == 1
        assert good[0] in told
    else:
        assert unsealing.refused == {first.stem: "bad-opening", second.stem: "cannot-open"}


def test_what_is_no_opening_of_its_leaf_is_refused(tmp_path: Path) -> None:
    """A file under another leaf's name was put there by somebody."""
    sealed_log(tmp_path, 2)
    first, second = sorted((tmp_path / "sealed").iterdir())
    first.write_bytes(second.read_bytes())
    with opened(tmp_path / "bundle") as bundle:
        unsealing = Unsealing(tmp_path / "sealed", bundle, KEY)
        assert len(list(unsealing.openings())) == 1
    assert unsealing.refused == {first.stem: "opening-mismatch"}
