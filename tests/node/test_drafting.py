"""What the node advises before an alert is sent."""

from broker.node.previewing import doubtful
from schemas.blocks.funds import Chain, CryptoWallet
from tests.support.alerts import cyber_alert

ADDRESSES = tuple(f"0x{digit * 40}" for digit in "abc")


def test_hundreds_of_doubts_of_a_kind_are_one_advice() -> None:
    wallets = tuple(CryptoWallet(chain=Chain.ETH, address=each) for each in ADDRESSES)
    (advice,) = doubtful(cyber_alert(wallets=wallets))
    assert (advice.code, advice.field, advice.count) == ("wallet-not-verified", "wallets.0", 3)
    assert advice.text.startswith("wallets.0: ")
    assert ADDRESSES[0] not in advice.text


def test_an_alert_without_doubt_needs_no_advice() -> None:
    assert doubtful(cyber_alert()) == []
