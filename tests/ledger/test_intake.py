"""What a gateway may say in the record, and what becomes of the rest: never a forged leaf."""

import pytest

from broker.audit.leafread import LeafKey, read_bundles
from broker.ledger.commit import Entry
from broker.ledger.intake import SEQUENCER, GatewayKey, Noticed, Witnessed, entry_of
from broker.log.audited import SealedRecord
from broker.log.leaf import BY_GATEWAYS, BY_THE_LOG, DECIDED, LeafKind, SignedStatement, Statement
from broker.log.recordkeys import NAME_BYTES
from broker.log.tiles import encode_bundle
from broker.transport.message import Stored
from keys.primitives.signing import SignKey

GATEWAY = SignKey(b"g" * 32)
PEN = Witnessed(SignKey(b"p" * 32))
KEYS = (GatewayKey(GATEWAY.public),)
BOTH = (LeafKey(GATEWAY.public.raw), LeafKey(PEN.key.public.raw, of_log=True))
STREAM = bytes(16)


def signed(kind: LeafKind, key: SignKey, name: str = "gw-1") -> SignedStatement:
    return Statement(kind, 1_790_000_000, name, 7, 0, c_body=bytes(32)).sign(key)


def taken(raw: bytes) -> Entry | Noticed | None:
    return entry_of(Stored("audit.2026.SG.x", raw, 1), KEYS, stream=STREAM, pen=PEN)


@pytest.mark.parametrize("kind", LeafKind)
def test_beside_a_decision_stands_what_decides_and_nothing_else(kind: LeafKind) -> None:
    record = SealedRecord(signed(kind, GATEWAY), bytes(NAME_BYTES), bytes(2064))
    entry = taken(record.to_bytes())
    assert isinstance(entry, Entry) is (kind in DECIDED)
    assert isinstance(entry, Noticed) is (kind not in DECIDED)


@pytest.mark.parametrize("kind", LeafKind)
def test_alone_a_gateway_says_what_it_may_without_a_decision(kind: LeafKind) -> None:
    entry = taken(signed(kind, GATEWAY).to_bytes())
    assert isinstance(entry, Entry) is (kind in BY_GATEWAYS - DECIDED)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("key", [GATEWAY, PEN.key], ids=["gateway", "log"])
@pytest.mark.parametrize("name", ["gw-1", SEQUENCER])
@pytest.mark.parametrize("kind", LeafKind)
def test_whatever_becomes_a_leaf_the_auditor_finds_signed_by_whom_it_may_be(
    kind: LeafKind, name: str, key: SignKey, *, alone: bool
) -> None:
    said = signed(kind, key, name)
    raw = said.to_bytes() if alone else SealedRecord(said, bytes(NAME_BYTES), b"").to_bytes()
    entry = taken(raw)
    if isinstance(entry, Entry):
        (read,) = read_bundles([(0, 1, encode_bundle([entry.raw]))], BOTH)
        assert (read.bad, read.forged) == ([], [])


def test_every_kind_is_somebodys() -> None:
    assert set(LeafKind) == BY_GATEWAYS | BY_THE_LOG
    assert {LeafKind.VOID} == BY_GATEWAYS & BY_THE_LOG
