"""Where a node keeps its settings and data, under `$KENTONG_HOME/node`, and the node made of them.

config.toml   whose node it is, how it reaches the hub, where desks reach it
hub-ca.pem    the authority that vouches for the hub's certificate
keys/         the node's key store
node.db       outbox, inbox, cursors, tokens
directory/    the verified copy of the directory
api.sock      where desks on this machine ask
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from broker import clock
from broker.api import TLSPort, TokenBook, create_app, serving
from broker.api.serving import PlainPort
from broker.cli.admin.node_ports import monitored, witnessing
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node.alarms import say_unusable
from broker.node.epochkeys import keep_keys
from broker.node.node import Node, Quotas
from broker.node.owner import claim
from broker.node.present import Present
from broker.store.database import Database, open_database, sqlite_url
from broker.store.scratch import remove_unused
from broker.store.tables import metadata
from broker.store.wholeness import check_marked, check_names, keep_whole
from broker.transport.accounts import inbox_prefix, user_jwt
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.unlinked import Unlinked
from keys.directory.client import DirectoryClient
from keys.directory.toml_text import toml
from keys.errors import KeysError, TokenError
from keys.files import make_private_folder, write_private
from keys.held import check_tokens
from keys.home import Home
from keys.identity import STORE_NAME, MemberIdentity, identity_in
from keys.keystore import KeyStore
from keys.primitives.signing import SignKey
from keys.token import PINSource, no_pin
from schemas.directory import MAX_SERVER_URLS
from schemas.label import MemberCode, Strict

MAX_PEM_BYTES: Final = 64 * 1024
CARRIED_S: Final = 5.0  # between two looks at what was carried to a node without a link
_MIB: Final = 1024 * 1024
_log = get_logger()


class NodeConfig(Strict):
    """`node/config.toml`.

    Attributes:
        member: Whose node.
        hub_url: `tls://host:port`; of a cluster, every server's, with commas between them. Empty
            for a node without any link, whose mail is carried: see docs/carry.md.
        database_url: Another database than `node.db`, without its password; empty for that one.
        tls_host: Address of a TLS port for desks elsewhere; empty for none.
        tls_certificate: PEM file of that port's certificate, and `tls_key` of its key.
        log_compare_s: How often to read again a part of the log from the hub, drawn by lot, and
            compare it with the copy here; 85 kB each time at most.
        attachments_out_mib: Room for attached files that the hub does not have yet.
        attachments_in_mib: Room for those received; more waits at the hub.
        metrics_host: Address of a port for monitoring alone, without TLS or token: keep it on this
            machine, or in a network of its own.
        metrics_port: That port; 0 for none. The API offers the same to a token that may monitor.
        witness_host: Address of a port for the node's witness alone, which answers any client of
            C2SP tlog-witness.
        witness_port: That port; 0 for none: the log itself is witnessed over the link to the hub.
        witness_certificate: PEM file of its certificate, and `witness_key` of its key; without
            them it speaks plain HTTP: keep it on this machine, behind a proxy that speaks TLS.
        directory_wait_min: Minutes without a quorum of witnesses after which a newer directory is
            used although the log does not prove it; 0 for never.
    """

    format: Literal[1] = 1
    member: MemberCode
    hub_url: Annotated[str, Field(max_length=MAX_SERVER_URLS, pattern=r"^(tls://[!-~]+)?$")]
    database_url: Annotated[str, Field(max_length=400)] = ""
    tls_host: Annotated[str, Field(max_length=253)] = ""
    tls_port: Annotated[int, Field(ge=0, le=65535)] = 0
    tls_certificate: Annotated[str, Field(max_length=400)] = ""
    tls_key: Annotated[str, Field(max_length=400)] = ""
    log_compare_s: Annotated[int, Field(ge=1, le=86_400)] = 600
    attachments_out_mib: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] = 4096
    attachments_in_mib: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] = 16_384
    metrics_host: Annotated[str, Field(max_length=253)] = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    witness_host: Annotated[str, Field(max_length=253)] = "127.0.0.1"
    witness_port: Annotated[int, Field(ge=0, le=65535)] = 0
    witness_certificate: Annotated[str, Field(max_length=400)] = ""
    witness_key: Annotated[str, Field(max_length=400)] = ""
    directory_wait_min: Annotated[int, Field(ge=0, le=10_080)] = 60


@dataclass(frozen=True)
class NodePlace:
    """The node's part of a home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.home / "node"

    @property
    def config_file(self) -> Path:
        """Settings, which a person may edit."""
        return self.folder / "config.toml"

    @property
    def authority_file(self) -> Path:
        """The authority that vouches for the hub's certificate."""
        return self.folder / "hub-ca.pem"

    @property
    def socket(self) -> Path:
        """Where desks on this machine ask."""
        return self.folder / "api.sock"

    def write(self, config: NodeConfig, authority_pem: bytes) -> None:
        """Put settings and authority down.

        Raises:
            KeyFileError: They cannot be written.
        """
        make_private_folder(self.folder)
        write_private(self.authority_file, authority_pem)
        text = b"# The node's settings. Restart the node after a change.\n"
        write_private(self.config_file, text + toml(config.model_dump(mode="json")))

    def config(self) -> NodeConfig:
        """Return the settings.

        Raises:
            BrokerError: `no-node`, or `bad-config` with the field.
        """
        try:
            raw = self.config_file.read_bytes()
        except OSError as error:
            raise BrokerError(
                "no-node", f"{self.folder} holds no node: kentong node init"
            ) from error
        try:
            return NodeConfig.model_validate(tomllib.loads(raw.decode()))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BrokerError(
                "bad-config", f"{self.config_file}: {where}: {first['msg']}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise BrokerError("bad-config", f"{self.config_file}: {error}") from None

    def certificates(self, config: NodeConfig) -> Mapping[str, Path]:
        """Return the certificates whose expiry somebody must watch."""
        found = {"hub-authority": self.authority_file}
        if config.tls_certificate:
            found["api"] = Path(config.tls_certificate)
        if config.witness_certificate:
            found["witness"] = Path(config.witness_certificate)
        return found

    def authority_pem(self) -> bytes:
        """Return the certificate of the hub's authority.

        Raises:
            BrokerError: `no-node`: it is missing.
        """
        try:
            with self.authority_file.open("rb") as file:
                return file.read(MAX_PEM_BYTES)
        except OSError as error:
            raise BrokerError("no-node", f"{self.authority_file} is missing") from error

    def database_url(self, config: NodeConfig) -> str:
        """Return the URL of the node's database."""
        return config.database_url or sqlite_url(self.folder / "node.db")

    @asynccontextmanager
    async def database(self, *, sole: bool = False) -> AsyncIterator[Database]:
        """Open the node's database.

        Args:
            sole: Whether as the node itself, of which there is one.

        Raises:
            BrokerError: There is no node here, or its database does not open.
        """
        url = self.database_url(self.config())
        async with open_database(url, metadata, sole=sole) as database:
            yield database

    def link(self, config: NodeConfig, identity: MemberIdentity) -> Link:
        """Return the link to the hub, or one that is never there.

        Raises:
            BrokerError: As `credentials`.
        """
        return Link(self.credentials(config, identity)) if config.hub_url else Unlinked()

    def credentials(self, config: NodeConfig, identity: MemberIdentity) -> Credentials:
        """Return what the node connects with; it signs its own user's JWT.

        Raises:
            BrokerError: `no-node`: the hub's authority is missing.
        """
        user = SignKey(identity.nats_user_seed)
        jwt = user_jwt(
            SignKey(identity.nats_account_seed),
            user.public.raw,
            config.member,
            now=clock.now(),
            member=config.member,
        )
        return Credentials(
            tuple(config.hub_url.split(",")),
            self.authority_pem().decode("ascii", "replace"),
            jwt,
            user,
            inbox_prefix(config.member),
            config.member,
        )


@dataclass(frozen=True)
class OpenedNode:
    """A node that does nothing by itself yet.

    Attributes:
        directory: Its copy of the directory.
        store: Its key store, opened.
    """

    node: Node
    directory: DirectoryClient
    store: KeyStore


@asynccontextmanager
async def opened_node(
    place: NodePlace, passphrase: bytes, pin: PINSource = no_pin, *, link: Link | None = None
) -> AsyncIterator[OpenedNode]:
    """Open a node with its keys, its database and the directory it held last.

    Args:
        place: Where it lives.
        passphrase: Opens its key store.
        pin: Where the PIN of its token comes from, if its key is in one.
        link: Instead of the one in its settings, for a command beside the node itself.

    Raises:
        BrokerError: A setting or the database cannot be used.
        KeysError: A key or the directory held cannot be used.
    """
    config, home = place.config(), Home(place.home)
    store = KeyStore.open(home.node_keys / STORE_NAME, passphrase)
    identity = identity_in(store, pin)
    if identity.member != config.member:
        raise BrokerError("wrong-member", f"the key store is of {identity.member}")
    absent = _absent_token(identity)
    directory = DirectoryClient(home.node_directory, pinned_root=home.pinned_root())
    present = Present(config.member)
    if (copy := directory.load_proven() or directory.load()) is not None:
        present.take(copy.view)
    async with (
        place.database(sole=link is None) as database,
        link or place.link(config, identity) as connection,
    ):
        await database.change(lambda connection: claim(connection, config.member))
        node = Node(
            present,
            identity,
            database,
            connection,
            place.folder / "attachments",
            directory,
            place.folder / "log",
            log_compare_s=config.log_compare_s,
            quotas=Quotas(config.attachments_out_mib * _MIB, config.attachments_in_mib * _MIB),
            directory_wait=timedelta(minutes=config.directory_wait_min),
        )
        if absent is not None:
            await say_unusable(database, absent, now=clock.now())
        if (newest := directory.load()) is not None:  # what it takes away is known already
            await node.gate.offer(newest)
        yield OpenedNode(node, directory, store)


async def run_node(
    place: NodePlace,
    passphrase: bytes,
    pin: PINSource = no_pin,
    *,
    on_ready: Callable[[Path, int], None],
) -> None:
    """Run the node and its API until cancelled.

    Args:
        place: Where it lives.
        passphrase: Opens its key store.
        pin: Asked for the PIN of the token that holds its signing key, if one does.
        on_ready: Called with the socket and the TLS port, 0 for none, once desks can ask.

    Raises:
        BrokerError: A setting, the database or the socket cannot be used; `database-damaged`,
            whenever that is found.
        KeysError: A key or the directory held cannot be used.
    """
    config = place.config()
    url = place.database_url(config)
    await asyncio.to_thread(remove_unused, place.home, place.folder)
    await check_marked(url)  # first: what a damaged database takes now is lost with it
    async with opened_node(place, passphrase, pin) as opened:
        check_names(url, metadata)
        node = opened.node
        app = create_app(node, TokenBook(node.database), certificates=place.certificates(config))
        async with (
            monitored(_monitoring_port(config), node, app),
            witnessing(_witness_port(config), node),
            serving(app, unix_path=place.socket, tls=_tls(config)) as served,
        ):
            on_ready(place.socket, served.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_keys(node.present, opened.store, pin, node.take))
                group.create_task(node.run())
                group.create_task(keep_whole(url, metadata))
                if not config.hub_url:
                    group.create_task(_follow_carried(opened))


async def _follow_carried(opened: OpenedNode) -> None:
    """Show desks the directory that `kentong carry in` took, a few seconds later."""
    while True:
        try:
            for copy in (opened.directory.load_proven(), opened.directory.load()):
                if copy is not None:
                    await opened.node.gate.offer(copy)
        except (BrokerError, KeysError) as error:  # it is being written; the next look finds it
            _log.info("directory-not-read", error_code=error.code)
        await asyncio.sleep(CARRIED_S)


def _absent_token(identity: MemberIdentity) -> TokenError | None:
    """Return why the token of the node's signing key cannot be used, if it may be again by itself.

    A desk may always queue: the node runs without it, and says so. What a person must set right is
    better said at the start than as an alarm tonight.

    Raises:
        TokenError: A wrong PIN, no such key, no such library.
    """
    try:
        check_tokens(identity.sign_key)
    except TokenError as error:
        if error.code not in {"token-absent", "token-failed"}:
            raise
        return error
    return None


def _monitoring_port(config: NodeConfig) -> PlainPort | None:
    return PlainPort(config.metrics_host, config.metrics_port) if config.metrics_port else None


def _witness_port(config: NodeConfig) -> PlainPort | TLSPort | None:
    if not config.witness_port:
        return None
    host, port, certificate = config.witness_host, config.witness_port, config.witness_certificate
    if not certificate:
        return PlainPort(host, port)
    return TLSPort(host, port, Path(certificate), Path(config.witness_key))


def _tls(config: NodeConfig) -> TLSPort | None:
    if not config.tls_host:
        return None
    return TLSPort(
        config.tls_host, config.tls_port, Path(config.tls_certificate), Path(config.tls_key)
    )
