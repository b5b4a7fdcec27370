"""Replacing the key under which the gateway decides: made beside the old one, used once published.

The old key overlaps when it is replaced as planned, so that what it decided is read by members who
were away. A stolen one ends at once, and nothing that it ever decided is believed any more.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from broker.hub.founding import DECISION_KEY_LASTS
from broker.hub.place import DECISIONS, GATEWAY_STORE
from keys.errors import KeyFileError
from keys.keystore import Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.signing import SignKey
from schemas.directory import HubDocument, RevocationReason, VerificationKey

OVERLAP: Final = timedelta(days=2)  # until the hub was restarted and decides under the new one
_NEXT: Final = "next/" + DECISIONS


def with_next_decision_key(
    keys: Path, passphrase: bytes, document: HubDocument, *, now: datetime, stolen: bool
) -> HubDocument:
    """Make another decision key and return the document that names it.

    Args:
        keys: The folder of the hub's key stores.
        passphrase: Opens them.
        document: `hub.toml` as it is in force.
        now: From when the new key holds.
        stolen: Whether the old ones end at once.

    Raises:
        KeyFileError: `exists`: one waits already to be published. Or it cannot be written.
    """
    store = KeyStore.open(keys / GATEWAY_STORE, passphrase)
    if _NEXT in store.entries:
        raise KeyFileError("exists", "the key of an earlier change waits to be published")
    key = SignKey.generate()
    store.change({_NEXT: Entry("ed25519", key.seed(), {"made": now.isoformat()})})
    ended = tuple(_ended(each, now, stolen=stolen) for each in document.gateway_keys)
    new = VerificationKey(key=key.public.raw, not_before=now, not_after=now + DECISION_KEY_LASTS)
    return document.model_copy(update={"gateway_keys": (*ended, new)})


def take_up_decision_key(keys: Path, passphrase: bytes, document: HubDocument) -> bool:
    """Put the next decision key in the place of the old one if `document` names it.

    Returns:
        Whether it does; gateway workers that run must be started again then.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    if not (keys / GATEWAY_STORE).exists():  # a hub whose gateway is elsewhere
        return False
    store = KeyStore.open(keys / GATEWAY_STORE, passphrase)
    if _NEXT not in store.entries:
        return False
    entry = store.get(_NEXT, "ed25519")
    kid = kid_of(SignKey(entry.secret).public.raw)
    if kid not in {kid_of(each.key) for each in document.gateway_keys}:
        return False
    store.change({DECISIONS: entry}, destroy=[_NEXT])
    return True


def give_up_next_decision_key(keys: Path, passphrase: bytes) -> None:
    """Destroy a next decision key that was never published, if there is one.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    store = KeyStore.open(keys / GATEWAY_STORE, passphrase)
    if _NEXT in store.entries:
        store.change(destroy=[_NEXT])


def _ended(key: VerificationKey, now: datetime, *, stolen: bool) -> VerificationKey:
    if key.revoked_at is not None:
        return key
    if stolen:
        return key.model_copy(update={"revoked_at": now, "reason": RevocationReason.COMPROMISED})
    end = now + OVERLAP
    return (
        key.model_copy(update={"not_after": end}) if key.not_before < end < key.not_after else key
    )
