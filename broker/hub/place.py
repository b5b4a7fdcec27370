"""Where the hub keeps its keys, certificates and settings, under `$KENTONG_HOME/hub`.

config.toml            how it listens, and how much it may store
keys/hub.keystore      operator, system and hub accounts, TLS authority: for `hub run` alone
keys/gateway.keystore  decision key, record keys, a confined user: all that a gateway worker holds
keys/directory.keystore  the directory's online keys
directory/             the published directory
server/                nats-server: configuration, certificate, streams
servers/               the same for each server of a cluster, to be carried to its machine
ca.pem                 the TLS authority; ca-next.pem and ca-previous.pem while it changes
attachments/           sealed chunks of attached files
suspensions.json       connections that the operator suspended
state.json             what a running hub says of itself
clock.json             when the hub's clock was believed last
streams.json           how far each stream was
erased.json            which messages the operator's erasures take out
runs/                  where each gateway worker is in its numbers
metrics/               what each process counts, and the socket where all of it is asked for
"""

import fcntl
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from broker import clock
from broker.errors import BrokerError
from broker.hub.clusterserver import ClusterServer
from broker.hub.gateway_user import revoked_users
from broker.hub.recordkeys import record_keys
from broker.hub.settings import HubConfig
from broker.log.recordkeys import HeldKeys, RecordKey, RecordKeys
from broker.transport.accounts import HubKeys, user_jwt
from broker.transport.credentials import Credentials
from broker.transport.server import ServerPlace
from broker.transport.storeduser import USER, StoredUser
from keys.held import key_of, signing_entry
from keys.home import Home
from keys.keystore import KeyStore
from keys.kid import kid_of
from keys.primitives.signing import Signing, SignKey
from keys.token import PINSource, no_pin

HUB_STORE: Final = "hub.keystore"
GATEWAY_STORE: Final = "gateway.keystore"
OPERATOR: Final = "nats/operator"
SYSTEM: Final = "nats/system"
ACCOUNT: Final = "nats/account"
SYSTEM_USER: Final = "nats/system-user"
AUTHORITY: Final = "tls/authority"
DECISIONS: Final = "sign/decisions"


@dataclass(frozen=True)
class HubPlace:
    """The hub's part of a home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.home / "hub"

    @property
    def keys(self) -> Path:
        """The key stores."""
        return Home(self.home).hub_keys

    @property
    def config_file(self) -> Path:
        """Settings, which a person may edit."""
        return self.folder / "config.toml"

    @property
    def authority_file(self) -> Path:
        """Certificate of the TLS authority, which members find in the directory."""
        return self.folder / "ca.pem"

    @property
    def next_authority_file(self) -> Path:
        """Certificate of the authority that shall take its place, until it has."""
        return self.folder / "ca-next.pem"

    @property
    def previous_authority_file(self) -> Path:
        """Certificate of the authority before, until every server of a cluster shows the new."""
        return self.folder / "ca-previous.pem"

    @property
    def attachments(self) -> Path:
        """Sealed chunks of attached files, by sender and envelope."""
        return self.folder / "attachments"

    @property
    def suspensions_file(self) -> Path:
        """Connections that the operator suspended."""
        return self.folder / "suspensions.json"

    @property
    def state_file(self) -> Path:
        """What a running hub says of itself."""
        return self.folder / "state.json"

    @property
    def erased_file(self) -> Path:
        """Which messages the operator's erasures take out."""
        return self.folder / "erased.json"

    @property
    def clock_file(self) -> Path:
        """When the hub's clock was believed last."""
        return self.folder / "clock.json"

    @property
    def runs(self) -> Path:
        """Where each gateway worker keeps its place."""
        return self.folder / "runs"

    @property
    def reports(self) -> Path:
        """Where each process writes its counts."""
        return self.folder / "metrics"

    @property
    def metrics_socket(self) -> Path:
        """Where monitoring on this machine asks."""
        return self.reports / "socket"

    @property
    def memory_file(self) -> Path:
        """How far each stream was."""
        return self.folder / "streams.json"

    @property
    def hub_document(self) -> Path:
        """What the members are asked to sign as `region/hub.toml`."""
        return self.folder / "hub.toml"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the hub: one process runs it at a time, and `is_running` sees it.

        Raises:
            BrokerError: `running-already`.
        """
        with self._lock_file() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BrokerError("running-already", f"the hub in {self.folder} runs") from None
            yield

    def is_running(self) -> bool:
        """Return whether a process holds the hub."""
        with self._lock_file() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(self.folder / ".lock", flags, 0o600)
        except OSError as error:
            raise BrokerError("no-hub", f"{self.folder} holds no hub: kentong hub init") from error
        try:
            yield handle
        finally:
            os.close(handle)

    def server(self, config: HubConfig) -> ServerPlace:
        """Where the embedded nats-server lives."""
        folder = self.folder / "server"
        return ServerPlace(
            folder, config.port, folder / "server.pem", folder / "server.key", config.host
        )

    def cluster_server(self, server: ClusterServer) -> ServerPlace:
        """Where the files of one server of the cluster are written."""
        folder = self.folder / "servers" / server.name
        return ServerPlace(
            folder, server.port, folder / "server.pem", folder / "server.key", server.host
        )

    def config(self) -> HubConfig:
        """Return the settings.

        Raises:
            BrokerError: `no-hub`, or `bad-config` with the field.
        """
        try:
            raw = self.config_file.read_bytes()
        except OSError as error:
            raise BrokerError("no-hub", f"{self.folder} holds no hub: kentong hub init") from error
        try:
            found = tomllib.loads(raw.decode())
            return HubConfig.model_validate(found, strict=False)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BrokerError(
                "bad-config", f"{self.config_file}: {where}: {first['msg']}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise BrokerError("bad-config", f"{self.config_file}: {error}") from None

    def authority_pem(self) -> str:
        """Return the TLS authority's certificate.

        Raises:
            BrokerError: `no-hub`.
        """
        try:
            return self.authority_file.read_text("ascii")
        except OSError as error:
            raise BrokerError("no-hub", f"{self.authority_file} is missing") from error

    def believed_pem(self) -> str:
        """Return every authority whose certificates the hub's own processes and servers believe.

        While one takes another's place the servers of a cluster change one by one: until then both.

        Raises:
            BrokerError: `no-hub`.
        """
        changing = (self.next_authority_file, self.previous_authority_file)
        others = [file.read_text("ascii") for file in changing if file.exists()]
        return "".join((self.authority_pem(), *others))

    def open_hub(self, passphrase: bytes) -> "HubSecrets":
        """Return what `hub run` holds.

        Raises:
            KeyFileError: The key store is missing, too open or damaged, or the passphrase wrong.
        """
        store = KeyStore.open(self.keys / HUB_STORE, passphrase)
        named = (OPERATOR, SYSTEM, ACCOUNT, SYSTEM_USER, USER)
        keys = HubKeys(*(SignKey(store.get(name, "ed25519").secret) for name in named))
        return HubSecrets(keys, store.get(AUTHORITY, "pem").secret, revoked_users(store))

    def open_gateway(self, passphrase: bytes, pin: PINSource = no_pin) -> "GatewaySecrets":
        """Return what a gateway worker holds.

        Args:
            passphrase: Opens the key store.
            pin: Asked for the PIN once the decision key signs, if it lies in a token.

        Raises:
            KeyFileError: As `open_hub`.
        """
        store = KeyStore.open(self.keys / GATEWAY_STORE, passphrase)
        key = key_of(signing_entry(store, DECISIONS), pin)
        return GatewaySecrets(key, StoredUser(store), record_keys(store))

    def open_records(self, passphrase: bytes) -> RecordKeys:
        """Return the record keys alone: `hub run` compares attached files with what was decided.

        Of a hub whose gateway is elsewhere, a key that opens nothing: files wait there.

        Raises:
            KeyFileError: As `open_gateway`.
        """
        if not (self.keys / GATEWAY_STORE).exists():
            return RecordKeys(HeldKeys(RecordKey.generate()))
        return record_keys(KeyStore.open(self.keys / GATEWAY_STORE, passphrase))


@dataclass(frozen=True)
class HubSecrets:
    """The hub's own private keys. Its `repr` is silent.

    Attributes:
        keys: For NATS.
        authority_key_pem: Of the TLS authority.
        revoked: Public nkeys of users of the hub's account that are let in no more.
    """

    keys: HubKeys = field(repr=False)
    authority_key_pem: bytes = field(repr=False)
    revoked: tuple[str, ...] = ()

    def hub_credentials(self, place: HubPlace, config: HubConfig) -> Credentials:
        """Return those of the hub's own account."""
        return self._credentials(place, config, self.keys.account, self.keys.user, "hub")

    def system_credentials(self, place: HubPlace, config: HubConfig) -> Credentials:
        """Return those that may put accounts into force."""
        return self._credentials(place, config, self.keys.system, self.keys.system_user, "system")

    @staticmethod
    def _credentials(
        place: HubPlace, config: HubConfig, account: SignKey, user: SignKey, name: str
    ) -> Credentials:
        jwt = user_jwt(account, user.public.raw, name, now=clock.now())
        return Credentials(config.own_urls, place.believed_pem(), jwt, user, "_INBOX", name)


@dataclass(frozen=True)
class GatewaySecrets:
    """What one gateway worker signs and connects with. Its `repr` is silent.

    Attributes:
        key: Signs decisions; its public half is in the directory.
        user: A user of the hub's account that may only route.
        records: Under which decisions lie on the AUDIT stream.
    """

    key: Signing = field(repr=False)
    user: StoredUser
    records: RecordKeys

    @property
    def kid(self) -> bytes:
        """Key identifier of the decision key."""
        return kid_of(self.key.public.raw)

    def credentials(self, place: HubPlace, config: HubConfig, name: str) -> Credentials:
        """Return those of a worker called `name`, as the key store has them at this moment.

        Raises:
            BrokerError: `no-hub`.
            KeyFileError: The key store cannot be read.
        """
        return self.user.credentials(config.own_urls, place.believed_pem(), name)
