"""Replacing keys of the hub that its document names: made beside the old ones, used once published.

The old key overlaps when it is replaced as planned, so that what it decided is read by members who
were away. A stolen one ends at once, and nothing that it ever decided is believed any more.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from broker.hub.founding import AUTHORITY_DAYS, DECISION_KEY_LASTS
from broker.hub.gateway_user import replace_gateway_user
from broker.hub.place import AUTHORITY, DECISIONS, GATEWAY_STORE, HUB_STORE, HubPlace
from keys.errors import KeyFileError
from keys.files import read_private, write_private
from keys.held import entry_of, key_of, signing_entry
from keys.keystore import Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.certificates import make_ca
from keys.primitives.signing import SignKey
from keys.token import TokenKey
from schemas.directory import HubDocument, RevocationReason, VerificationKey

OVERLAP: Final = timedelta(days=2)  # until the hub was restarted and decides under the new one
_NEXT: Final = "next/" + DECISIONS
_NEXT_AUTHORITY: Final = "next/" + AUTHORITY
_MAX_PEM_BYTES: Final = 16 * 1024


def with_next_decision_key(
    keys: Path,
    passphrase: bytes,
    document: HubDocument,
    *,
    now: datetime,
    stolen: bool,
    token: TokenKey | None = None,
) -> HubDocument:
    """Make another decision key and return the document that names it.

    Args:
        keys: The folder of the hub's key stores.
        passphrase: Opens them.
        document: `hub.toml` as it is in force.
        now: From when the new key holds.
        stolen: Whether the old ones end at once.
        token: The other key, if it lies in a token; else one is made.

    Raises:
        KeyFileError: `exists`: one waits already to be published. Or it cannot be written.
    """
    store = KeyStore.open(keys / GATEWAY_STORE, passphrase)
    if _NEXT in store.entries:
        raise KeyFileError("exists", "the key of an earlier change waits to be published")
    key = token or SignKey.generate()
    store.change({_NEXT: entry_of(key, made=now)})
    ended = tuple(_ended(each, now, stolen=stolen) for each in document.gateway_keys)
    new = VerificationKey(key=key.public.raw, not_before=now, not_after=now + DECISION_KEY_LASTS)
    return document.model_copy(update={"gateway_keys": (*ended, new)})


def shut_out_gateway_user(place: HubPlace, passphrase: bytes, *, now: datetime) -> None:
    """Put another user in the place of the gateway's, which was stolen with its key store.

    The hub tells its servers when it starts; until then the thief is let in.

    Raises:
        KeyFileError: A key store cannot be read or written.
    """
    account = place.open_hub(passphrase).keys.account
    hub, gateway = (
        KeyStore.open(place.keys / name, passphrase) for name in (HUB_STORE, GATEWAY_STORE)
    )
    replace_gateway_user(hub, gateway, account, now)


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
    entry = signing_entry(store, _NEXT)
    kid = kid_of(key_of(entry).public.raw)
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


def with_next_authority(
    place: HubPlace, passphrase: bytes, document: HubDocument, *, now: datetime
) -> HubDocument:
    """Make another TLS authority and return the document that names it.

    Its certificate is put beside the old one: every node must believe both before it is used.

    Raises:
        KeyFileError: `exists`: one waits already to be published. Or it cannot be written.
    """
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    if _NEXT_AUTHORITY in store.entries:
        raise KeyFileError("exists", "the authority of an earlier change waits to be published")
    # A name of its own: two authorities of one name are taken for each other.
    certificate, key = make_ca(f"Kentong hub {now:%Y-%m-%d %H:%M:%S}", now, AUTHORITY_DAYS)
    store.change({_NEXT_AUTHORITY: Entry("pem", key)})
    write_private(place.next_authority_file, certificate)
    return document.model_copy(update={"tls_ca_pem": certificate.decode("ascii")})


def take_up_authority(place: HubPlace, passphrase: bytes, document: HubDocument) -> bool:
    """Put the next TLS authority in the place of the old one if `document` names it.

    Interrupted, it goes on when it is called again: a hub does at each start.

    Returns:
        Whether it does; the hub must be started again then.

    Raises:
        KeyFileError: A file cannot be read or written.
    """
    if not place.next_authority_file.exists():
        return False
    certificate = read_private(place.next_authority_file, max_bytes=_MAX_PEM_BYTES)
    if certificate.decode("ascii", "replace") != document.tls_ca_pem:
        return False
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    if _NEXT_AUTHORITY in store.entries:
        entry = store.get(_NEXT_AUTHORITY, "pem")
        store.change({AUTHORITY: entry}, destroy=[_NEXT_AUTHORITY])
    before = place.authority_pem().encode("ascii")
    if before != certificate and not place.config().embedded:
        write_private(place.previous_authority_file, before)  # its servers change one by one
    write_private(place.authority_file, certificate)
    place.next_authority_file.unlink()
    return True


def forget_previous_authority(place: HubPlace) -> None:
    """Believe the authority before no more, once every server of the cluster shows the new one."""
    place.previous_authority_file.unlink(missing_ok=True)


def give_up_next_authority(place: HubPlace, passphrase: bytes) -> None:
    """Destroy a next TLS authority that was never published, if there is one.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    if _NEXT_AUTHORITY in store.entries:
        store.change(destroy=[_NEXT_AUTHORITY])
    place.next_authority_file.unlink(missing_ok=True)


def _ended(key: VerificationKey, now: datetime, *, stolen: bool) -> VerificationKey:
    if key.revoked_at is not None:
        return key
    if stolen:
        return key.model_copy(update={"revoked_at": now, "reason": RevocationReason.COMPROMISED})
    end = now + OVERLAP
    return (
        key.model_copy(update={"not_after": end}) if key.not_before < end < key.not_after else key
    )
