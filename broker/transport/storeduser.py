"""A confined user of the hub's account, as the key store of the process that connects as it has it.

The hub signs it anew there when its own keys are replaced, while that process may wait for it.
"""

from dataclasses import dataclass, field
from typing import Final

from broker.transport.credentials import Credentials
from keys.keystore import KeyStore
from keys.primitives.signing import SignKey

USER: Final = "nats/user"


@dataclass(frozen=True)
class StoredUser:
    """Whom a key store lets a process connect as. Its `repr` is silent."""

    store: KeyStore = field(repr=False)

    def credentials(self, urls: tuple[str, ...], ca_pem: str, name: str) -> Credentials:
        """Return the user's credentials as the key store has them at this moment.

        Raises:
            KeyFileError: It cannot be read; `changed` if it stands under another passphrase now.
        """
        self.store.reload()
        user = self.store.get(USER, "ed25519")
        key = SignKey(user.secret)
        return Credentials(urls, ca_pem, user.facts["jwt"], key, "_INBOX", name)
