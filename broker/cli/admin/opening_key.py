"""The auditors' joined key, ready to open: all that only `kentong audit open` needs.

Apart from that command because key stores, passphrases and tokens take longer to load than a small
log takes to verify.
"""

from pathlib import Path

from broker.audit.bundle import Bundle
from broker.audit.unsealing import Unsealing
from broker.cli.admin.auditors import KEY
from broker.cli.admin.secret import passphrase
from keys.keystore import KeyStore
from keys.primitives.sealing import OpenKey


def joined_key(key: Path, passphrase_file: Path | None) -> OpenKey:
    """Return the key that `kentong auditors combine` wrote.

    Raises:
        KeysError: It is none, or the passphrase does not open it.
    """
    return OpenKey(KeyStore.open(key, passphrase(passphrase_file)).get(KEY, "suite-1").secret)


def unsealing(sealed: Path, files: Bundle, key: OpenKey) -> Unsealing:
    """Return what opens the folder `sealed` against a bundle."""
    return Unsealing(sealed, files, key)
