"""Makes a hub: keys, TLS authority, settings, and what the members are asked to sign about it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.hub import place as names
from broker.hub.gateway_user import gateway_user
from broker.hub.place import HubPlace, HubSecrets
from broker.hub.recordkeys import new_entry
from broker.hub.settings import HubConfig
from broker.transport.accounts import HubKeys
from broker.transport.server import AUTHORITY_FILE, Routes, write_configuration
from broker.transport.storeduser import USER
from keys.directory.toml_text import Table, hub_toml, toml
from keys.files import make_private_folder, write_private
from keys.held import entry_of
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.primitives.certificates import issue_server, make_ca
from keys.primitives.signing import SignKey
from keys.token import TokenKey
from schemas.directory import HubDocument, VerificationKey

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397  # issued anew at every start of the hub; a cluster's by server-config
DECISION_KEY_LASTS: Final = timedelta(days=400)  # a yearly rotation with a month to spare


def init_hub(
    home: Path,
    passphrase: bytes,
    config: HubConfig,
    *,
    now: datetime,
    log2n: int = DEFAULT_LOG2N,
    token: TokenKey | None = None,
) -> HubDocument:
    """Make a hub in `home` and return what `region/hub.toml` shall say of it.

    Args:
        home: Its home folder.
        passphrase: Will open its key stores.
        config: Its settings.
        now: From when the keys hold.
        log2n: Cost of the key stores.
        token: The key under which its gateway decides, if it lies in a token.

    Raises:
        BrokerError: `exists`: there is a hub already.
        KeyFileError: A file cannot be written.
    """
    place = HubPlace(home)
    if place.config_file.exists():
        raise BrokerError("exists", f"{place.folder} holds a hub already")
    make_private_folder(place.folder)
    keys, decisions = HubKeys.generate(), token or SignKey.generate()
    authority, authority_key = make_ca("Kentong hub", now, AUTHORITY_DAYS)
    _store_hub_keys(place, passphrase, keys, authority_key, log2n)
    _store_gateway_keys(place, passphrase, keys, decisions, now=now, log2n=log2n)
    document = HubDocument(
        suite=1,
        server_url=config.public_url,
        tls_ca_pem=authority.decode("ascii"),
        operator_key=keys.operator.public.raw,
        account_key=keys.account.public.raw,
        gateway_keys=(
            VerificationKey(
                key=decisions.public.raw, not_before=now, not_after=now + DECISION_KEY_LASTS
            ),
        ),
    )
    write_private(place.authority_file, authority)
    write_private(place.hub_document, hub_toml(document))
    write_private(place.config_file, config_toml(config))  # last: with it, the hub is there
    return document


def write_server(
    place: HubPlace,
    config: HubConfig,
    secrets: HubSecrets,
    *,
    now: datetime,
    members: Sequence[str] = (),
) -> None:
    """Write a server's configuration and give it a new certificate.

    Args:
        place: Where.
        config: How it listens.
        secrets: The hub's.
        now: From when the certificate holds.
        members: Whose services are exported from the start; a running hub adds the others.

    Raises:
        KeyFileError: It cannot be written.
    """
    certificate, key = issue_server(
        place.authority_pem().encode("ascii"),
        secrets.authority_key_pem,
        config.names,
        now,
        SERVER_DAYS,
    )
    server = place.server(config)
    make_private_folder(server.folder)
    write_private(server.key, key)
    write_private(server.certificate, certificate)
    write_configuration(server, secrets.keys, tuple(members), now=now, revoked=secrets.revoked)


def write_cluster(
    place: HubPlace,
    config: HubConfig,
    secrets: HubSecrets,
    *,
    now: datetime,
    members: Sequence[str] = (),
) -> list[Path]:
    """Write the files of each server of the cluster, and return their folders.

    Args:
        place: Of the hub; each folder is then carried to its server's machine, to any path there:
            the server is started in it.
        config: Names the servers.
        secrets: The hub's.
        now: From when the certificates hold.
        members: Whose services are exported. A server takes the newest account that it hears of,
            and tells the others: of a hub at work, name everybody in the directory, or they are
            cut off.

    Raises:
        KeyFileError: They cannot be written.
    """
    authority, believed = place.authority_pem().encode("ascii"), place.believed_pem()
    for server in config.cluster:
        certificate, key = issue_server(
            authority, secrets.authority_key_pem, (server.host,), now, SERVER_DAYS, routes=True
        )
        there = place.cluster_server(server)
        make_private_folder(there.folder.parent)
        make_private_folder(there.folder)
        write_private(there.key, key)
        write_private(there.certificate, certificate)
        write_private(there.folder / AUTHORITY_FILE, believed.encode("ascii"))
        others = tuple(
            f"{other.host}:{other.cluster_port}" for other in config.cluster if other != server
        )
        routes = Routes(server.name, server.cluster_port, others, disk=config.server_disk)
        write_configuration(
            there,
            secrets.keys,
            tuple(members),
            now=now,
            routes=routes,
            revoked=secrets.revoked,
        )
    return [place.cluster_server(server).folder for server in config.cluster]


def config_toml(config: HubConfig) -> bytes:
    """Return the text of `config.toml`."""
    fields: Table = config.model_dump(mode="json")
    return b"# The hub's settings. Restart the hub after a change.\n" + toml(fields)


def _store_hub_keys(
    place: HubPlace, passphrase: bytes, keys: HubKeys, authority_key: bytes, log2n: int
) -> None:
    entries = {
        names.OPERATOR: keys.operator,
        names.SYSTEM: keys.system,
        names.ACCOUNT: keys.account,
        names.SYSTEM_USER: keys.system_user,
        USER: keys.user,
    }
    KeyStore.create(
        place.keys / names.HUB_STORE,
        passphrase,
        {
            **{name: Entry("ed25519", key.seed()) for name, key in entries.items()},
            names.AUTHORITY: Entry("pem", authority_key),
        },
        log2n=log2n,
    )


def _store_gateway_keys(
    place: HubPlace,
    passphrase: bytes,
    keys: HubKeys,
    decisions: SignKey | TokenKey,
    *,
    now: datetime,
    log2n: int,
) -> None:
    KeyStore.create(
        place.keys / names.GATEWAY_STORE,
        passphrase,
        {
            names.DECISIONS: entry_of(decisions, made=now),
            USER: gateway_user(keys.account, now=now),
            **new_entry(now),
        },
        log2n=log2n,
    )
