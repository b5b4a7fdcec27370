"""The gateway's user at the hub's server, and the former ones that are let in there no more.

    revoked/KID  one of those, in the hub's key store: its nkey in the entry's facts

A user's JWT does not run out. Whoever copied the gateway's key store is let in as that user until
the account that issued it says otherwise, which the hub tells its servers when it starts.
"""

from datetime import datetime
from typing import Final

from broker.transport.accounts import GATEWAY_PUBLISHES, public_nkey, user_jwt
from broker.transport.storeduser import USER
from keys.keystore import Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.signing import SignKey

REVOKED: Final = "revoked/"
_NKEY: Final = "nkey"


def gateway_user(account: SignKey, *, now: datetime) -> Entry:
    """Return another user of the hub's account, which may route and nothing else.

    Args:
        account: The hub's.
        now: Time of issue.
    """
    user = SignKey.generate()
    jwt = user_jwt(account, user.public.raw, "gateway", now=now, publish=GATEWAY_PUBLISHES)
    return Entry("ed25519", user.seed(), {"jwt": jwt})


def replace_gateway_user(hub: KeyStore, gateway: KeyStore, account: SignKey, now: datetime) -> None:
    """Put another user in the place of the gateway's, and let the old one in no more.

    The old one is noted first: interrupted, it is repeated with the command, and never forgotten.

    Args:
        hub: The hub's key store.
        gateway: The gateway's.
        account: The hub's.
        now: Time of issue.

    Raises:
        KeyFileError: A key store cannot be read or written.
    """
    old = SignKey(gateway.get(USER, "ed25519").secret).public.raw
    entry = Entry("symmetric", b"", {_NKEY: public_nkey("user", old)})
    hub.change({REVOKED + kid_of(old).hex(): entry})
    gateway.change({USER: gateway_user(account, now=now)})


def revoked_users(hub: KeyStore) -> tuple[str, ...]:
    """Return the nkeys of users that are let in no more."""
    return tuple(
        entry.facts[_NKEY] for name, entry in hub.entries.items() if name.startswith(REVOKED)
    )
