"""Each process of the hub opens a key store of its own, with its own keys and no others."""

from pathlib import Path

from broker import clock
from broker.cli.admin.log import found_log
from broker.cli.demo.region import LOG2N
from broker.hub import place as hub
from broker.hub.founding import init_hub
from broker.ledger import place as ledger
from broker.transport.storeduser import USER
from keys.keystore import KeyStore

PASSPHRASE = b"of a test"


def test_what_a_gateway_opens_holds_no_key_of_the_log_or_the_hub(tmp_path: Path) -> None:
    init_hub(tmp_path, PASSPHRASE, hub.HubConfig(), now=clock.now(), log2n=LOG2N)
    found_log(tmp_path, PASSPHRASE, ledger.LedgerConfig(origin="log.example/keys"), log2n=LOG2N)
    held = {
        file.stem: {
            name
            for name in KeyStore.open(file, PASSPHRASE).entries
            if not name.startswith("record/")  # seals what the hub keeps, for all who read it there
        }
        for file in tmp_path.rglob("*.keystore")
    }
    assert held == {
        "gateway": {hub.DECISIONS, USER},
        "hub": {
            hub.OPERATOR,
            hub.SYSTEM,
            hub.ACCOUNT,
            hub.SYSTEM_USER,
            USER,
            hub.AUTHORITY,
        },
        "signer": {ledger.ED25519, ledger.MLDSA44},
        "sequencer": {ledger.LEAVES, USER},
    }
