"""Where a ferry keeps what it needs, under `$KENTONG_HOME/ferry`: never a key that seals or opens.

config.toml   whose ferry it is, how it reaches the hub, its user's JWT and until when that holds
hub-ca.pem    the authority that vouches for the hub's certificate
keys/         the key store with its one key, which answers the server's challenge
directory/    the verified copy of the directory
asked.json    what the node's last file wants from the hub

The node makes it with the member's broker account. Whoever steals a ferry may take the member's
sealed copies from the hub, which shows as gaps, and can neither read nor send anything.
"""

import json
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from broker.carry.form import MAX_NAME, CarryError, Header
from broker.transport.accounts import inbox_prefix, user_jwt
from broker.transport.credentials import Credentials
from keys.directory.client import DirectoryClient
from keys.directory.toml_text import toml
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from keys.home import Home
from keys.identity import MemberIdentity
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.primitives.signing import SignKey
from schemas.directory import MAX_SERVER_URLS
from schemas.label import MemberCode, Strict

AHEAD: Final = timedelta(minutes=5)  # as far as the gateway lets a sender's clock be
_USER: Final = "nats/user"
_STORE: Final = "ferry.keystore"
_MAX_CONFIG_BYTES: Final = 64 * 1024
_MAX_ASKED_BYTES: Final = 16 * 1024 * 1024
_MAX_ASKED: Final = 100_000
MAX_SERVICES: Final = 12_288  # of which most ask for a chunk
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FerryConfig(Strict):
    """`ferry/config.toml`.

    Attributes:
        expires: When the hub lets this ferry in no more, in seconds since 1970.
    """

    format: Literal[1] = 1
    member: MemberCode
    hub_url: Annotated[str, Field(max_length=MAX_SERVER_URLS, pattern=r"^tls://[!-~]+$")]
    jwt: Annotated[str, Field(max_length=16_384)]
    expires: Annotated[int, Field(ge=0, le=2**40)]


class AskedService(Strict):
    """One request about attached files, of which the node waits for the answer."""

    name: Annotated[str, Field(pattern=r"^att\.(open|get|done)$")]
    payload: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,1024}$")]


class Asked(Strict):
    """What the node's last file asks for.

    Attributes:
        file: Its id.
        made_ms: When it was made.
        done: SHA-256 of each copy and receipt that the node has committed.
        services: What it asks about attached files.
    """

    format: Literal[1] = 1
    file: Annotated[str, Field(max_length=64)] = ""
    made_ms: Annotated[int, Field(ge=0)] = 0
    origin: Annotated[str, Field(max_length=MAX_NAME)] = ""
    leaves: Annotated[int, Field(ge=0)] = 0
    done: Annotated[tuple[_Hash, ...], Field(max_length=_MAX_ASKED)] = ()
    services: Annotated[tuple[AskedService, ...], Field(max_length=MAX_SERVICES)] = ()


@dataclass(frozen=True)
class FerryPlace:
    """The ferry's part of a home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.home / "ferry"

    @property
    def exists(self) -> bool:
        """Whether there is a ferry here."""
        return self._config_file.exists()

    @property
    def directory(self) -> DirectoryClient:
        """The ferry's copy of the directory.

        Raises:
            KeyFileError: The region's root is missing.
        """
        return DirectoryClient(self.folder / "directory", pinned_root=Home(self.home).pinned_root())

    def make(
        self,
        identity: MemberIdentity,
        *,
        hub_url: str,
        authority_pem: bytes,
        root: bytes,
        passphrase: bytes,
        now: datetime,
        expires: datetime,
        log2n: int = DEFAULT_LOG2N,
    ) -> bytes:
        """Make a ferry for the member of `identity`, on that member's node.

        Returns:
            The ferry's public key.

        Raises:
            CarryError: `exists`.
            KeyFileError: It cannot be written.
        """
        if self.folder.exists():
            raise CarryError("exists", f"{self.folder} is there already; choose another folder")
        make_private_folder(self.home)
        make_private_folder(self.folder)
        key = SignKey.generate()
        jwt = user_jwt(
            SignKey(identity.nats_account_seed),
            key.public.raw,
            f"{identity.member}-ferry",
            now=now,
            member=identity.member,
            expires=expires,
        )
        entry = Entry("ed25519", key.seed(), {"made": now.isoformat()})
        KeyStore.create(self._store_file, passphrase, {_USER: entry}, log2n=log2n)
        Home(self.home).pin_root(root)
        write_private(self._authority_file, authority_pem)
        config = FerryConfig(
            member=identity.member, hub_url=hub_url, jwt=jwt, expires=int(expires.timestamp())
        )
        write_private(self._config_file, toml(config.model_dump(mode="json")))
        return key.public.raw

    def config(self) -> FerryConfig:
        """Return the settings.

        Raises:
            CarryError: `no-ferry` or `bad-config`.
        """
        try:
            raw = read_private(self._config_file, max_bytes=_MAX_CONFIG_BYTES)
            return FerryConfig.model_validate(tomllib.loads(raw.decode()))
        except KeyFileError as error:
            raise CarryError("no-ferry", f"{self.folder} holds no ferry") from error
        except (ValueError, RecursionError):
            raise CarryError("bad-config", f"{self._config_file} is no ferry's settings") from None

    def credentials(self, passphrase: bytes, *, now: datetime) -> Credentials:
        """Return what the ferry connects with.

        Raises:
            CarryError: As `config`, or `ferry-expired`.
            KeyFileError: The passphrase is wrong, or a file is missing.
        """
        config = self.config()
        if now.timestamp() >= config.expires:
            raise CarryError("ferry-expired", "this ferry's time is over: the node makes another")
        entry = KeyStore.open(self._store_file, passphrase).get(_USER, "ed25519")
        authority = read_private(self._authority_file, max_bytes=_MAX_CONFIG_BYTES)
        return Credentials(
            tuple(config.hub_url.split(",")),
            authority.decode("ascii", "replace"),
            config.jwt,
            SignKey(entry.secret),
            inbox_prefix(config.member),
            f"{config.member}-ferry",
        )

    def asked(self) -> Asked:
        """Return what the last file asked for; nothing if there was none, or its note is damaged.

        Without it the node gets what it has already, and takes it for what it is.
        """
        try:
            raw = read_private(self._asked_file, max_bytes=_MAX_ASKED_BYTES)
            return Asked.model_validate_json(raw)
        except (KeyFileError, ValidationError):
            return Asked()

    def ask(
        self,
        header: Header,
        done: Collection[bytes],
        services: Iterable[AskedService] = (),
        *,
        now: datetime,
    ) -> bool:
        """Note what a file of the node asks for; return whether it is the newest such file.

        Args:
            header: Of the file, signed by the node; `check_made` let it through.
            done: What the node has committed.
            services: What it asks about attached files.
            now: The hub's clock. A note of a file from after it counts for nothing.

        Raises:
            KeyFileError: It cannot be written.
        """
        known = self.asked()
        if header.made_ms < known.made_ms <= _latest_ms(now):
            return False
        asked = Asked(
            file=header.id,
            made_ms=header.made_ms,
            origin=header.origin,
            leaves=header.leaves,
            done=tuple(digest.hex() for digest in list(done)[:_MAX_ASKED]),
            services=tuple(services)[:MAX_SERVICES],
        )
        write_private(self._asked_file, json.dumps(asked.model_dump(mode="json")).encode())
        return True

    @property
    def _config_file(self) -> Path:
        return self.folder / "config.toml"

    @property
    def _authority_file(self) -> Path:
        return self.folder / "hub-ca.pem"

    @property
    def _store_file(self) -> Path:
        return self.folder / "keys" / _STORE

    @property
    def _asked_file(self) -> Path:
        return self.folder / "asked.json"


def check_made(header: Header, *, now: datetime) -> None:
    """Return if a file of the node was not made after `now`, by the hub's clock.

    One file from the future would be the newest for years, and all later ones would ask in vain.

    Raises:
        CarryError: `carry-clock-ahead`.
    """
    if header.made_ms > _latest_ms(now):
        raise CarryError(
            "carry-clock-ahead",
            "the file says that it was made later than now: set the node's clock and write another",
        )


def _latest_ms(now: datetime) -> int:
    return int((now + AHEAD).timestamp() * 1000)
