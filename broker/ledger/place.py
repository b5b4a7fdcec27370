"""Where the log keeps its keys and files, under `$KENTONG_HOME/log`.

config.toml                origin and database
keys/signer.keystore       the log's two keys: for the signer process alone
keys/sequencer.keystore    a confined NATS user, and the key that signs gaps and faults
signer/                    the signer's state, its lock and its socket
log.db                     lock record, positions, numbers
tiles/                     what is published
erasures/                  which leaf each erasure speaks of; destroy them to cut that link too
"""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from broker.ledger.commit import Committer
from broker.ledger.errors import LedgerError
from broker.ledger.sequencer import Cadence
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import SignerClient
from broker.ledger.sole_signer import sole_signer
from broker.ledger.state import LedgerState
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.note import Note, check_key_name
from broker.log.notekeys import SignatureType, VKey, parse_vkey
from broker.log.notesigner import NoteSigner
from broker.store.database import Database, sqlite_url
from broker.store.tilefiles import TileFiles
from broker.transport.credentials import Credentials
from broker.transport.storeduser import USER, StoredUser
from keys.directory.toml_text import toml
from keys.files import make_private_folder, write_private
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import SignKey
from schemas.directory import LogDocument, LogOrigin
from schemas.label import Strict

ED25519: Final = "log/ed25519"
MLDSA44: Final = "log/ml-dsa-44"
LEAVES: Final = "sign/leaves"
_SEED_BYTES: Final = 32


class LedgerConfig(Strict):
    """`log/config.toml`.

    Attributes:
        origin: The log's name: a URL without a scheme, unique in the world, and for ever.
        database: URL of SQLAlchemy, without a password; empty for a file beside this one.
        round_s: Least seconds between two checkpoints put to the witnesses.
        integrate_leaves: The log grows as soon as so many leaves wait,
        integrate_s: or the oldest has waited so many seconds,
        growth_leaves: and never by more than this at a time.
        checkpoint_s: Least seconds between two checkpoints shown while it grows.
        refuse_after_h: Hours without a quorum of witnesses after which gateways refuse new
            submissions for the time being; 0 for never.
    """

    format: Literal[1] = 1
    origin: LogOrigin
    database: Annotated[str, Field(max_length=512)] = ""
    round_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    integrate_leaves: Annotated[int, Field(ge=1, le=65_536)] = 256
    integrate_s: Annotated[float, Field(ge=0.01, le=60)] = 0.25
    growth_leaves: Annotated[int, Field(ge=1, le=65_536)] = 4096
    checkpoint_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    refuse_after_h: Annotated[int, Field(ge=0, le=8_760)] = 48


@dataclass(frozen=True)
class LogKeys:
    """The log's two signing keys: one that every tool reads, one for after quantum computers."""

    ed25519: NoteSigner = field(repr=False)
    mldsa44: NoteSigner = field(repr=False)

    @classmethod
    def of(cls, origin: str, ed25519: bytes, mldsa44: bytes) -> "LogKeys":
        """Return the keys of these 32-byte seeds, under the log's name."""
        return cls(
            NoteSigner(origin, SignatureType.ED25519, ed25519),
            NoteSigner(origin, SignatureType.COSIGNATURE_MLDSA44, mldsa44),
        )

    def sign(self, checkpoint: Checkpoint) -> Note:
        """Return the checkpoint signed with both."""
        text = checkpoint.to_text()
        return checkpoint.signed(
            (self.ed25519.sign(text), self.mldsa44.cosign(checkpoint, time_s=0))
        )

    @property
    def vkeys(self) -> tuple[VKey, VKey]:
        """What auditors and members need to verify checkpoints."""
        return self.ed25519.vkey, self.mldsa44.vkey


@dataclass(frozen=True)
class SequencerSecrets:
    """What the sequencer holds. Its `repr` is silent."""

    leaves: SignKey
    user: StoredUser

    def credentials(self, urls: tuple[str, ...], ca_pem: str) -> Credentials:
        """Return those of the user that reads streams at the hub's server, as they are now.

        Raises:
            KeyFileError: The key store cannot be read.
        """
        return self.user.credentials(urls, ca_pem, "sequencer")


@dataclass(frozen=True)
class LedgerPlace:
    """The log's part of a home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.home / "log"

    @property
    def config_file(self) -> Path:
        """Settings."""
        return self.folder / "config.toml"

    @property
    def socket(self) -> Path:
        """The signer's door."""
        return self.folder / "signer" / "socket"

    @property
    def vkeys_file(self) -> Path:
        """The log's public keys, one a line."""
        return self.folder / "log.vkeys"

    @property
    def sequencer_file(self) -> Path:
        """The public key under which the sequencer states gaps and faults."""
        return self.folder / "sequencer.vkey"

    @property
    def erasures(self) -> Path:
        """Which leaf each erasure speaks of: `<SHA-256 of the signed statement>.erasure`."""
        return self.folder / "erasures"

    @property
    def files(self) -> TileFiles:
        """The tiles."""
        return TileFiles(self.folder / "tiles")

    @property
    def database_url(self) -> str:
        """Where the sequencer's database is.

        Raises:
            LedgerError: As `config`.
        """
        return self.config().database or sqlite_url(self.folder / "log.db")

    def config(self) -> LedgerConfig:
        """Return the settings.

        Raises:
            LedgerError: `no-log`, or `bad-config` with the field.
        """
        try:
            found = tomllib.loads(self.config_file.read_text("utf-8"))
            return LedgerConfig.model_validate(found, strict=False)
        except OSError as error:
            raise LedgerError("no-log", f"{self.folder} holds no log: kentong log init") from error
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise LedgerError(
                "bad-config", f"{self.config_file}: {where}: {first['msg']}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise LedgerError("bad-config", f"{self.config_file}: {error}") from None

    def create(
        self,
        config: LedgerConfig,
        passphrase: bytes,
        user: SignKey,
        jwt: str,
        *,
        log2n: int = DEFAULT_LOG2N,
    ) -> LogDocument:
        """Make the log's keys, its signer's state and its settings; explicit, and once.

        Returns:
            What the directory shall say of it.

        Args:
            config: How it is called.
            passphrase: For both key stores.
            user: The sequencer's user at the hub's NATS server.
            jwt: That user's.
            log2n: Cost of the key stores.

        Raises:
            LedgerError: `exists`: there is a log already; `bad-config`.
            KeyFileError: A file cannot be written.
        """
        if self.config_file.exists():
            raise LedgerError("exists", f"{self.folder} holds a log already")
        try:
            check_key_name(config.origin, code="bad-config")
        except LogError as error:
            raise LedgerError("bad-config", str(error)) from None
        seeds = {ED25519: random_bytes(_SEED_BYTES), MLDSA44: random_bytes(_SEED_BYTES)}
        keys = LogKeys.of(config.origin, seeds[ED25519], seeds[MLDSA44])
        make_private_folder(self.folder)
        make_private_folder(self.socket.parent)
        KeyStore.create(
            self._keys / "signer.keystore",
            passphrase,
            {name: Entry("symmetric", seed) for name, seed in seeds.items()},
            log2n=log2n,
        )
        leaves = SignKey.generate()
        KeyStore.create(
            self._keys / "sequencer.keystore",
            passphrase,
            {
                LEAVES: Entry("ed25519", leaves.seed()),
                USER: Entry("ed25519", user.seed(), {"jwt": jwt}),
            },
            log2n=log2n,
        )
        Signer.create(self._signer_file, config.origin, keys.sign)
        vkeys = "".join(f"{key.to_text()}\n" for key in keys.vkeys)
        write_private(self.vkeys_file, vkeys.encode())
        pen = VKey(f"{config.origin}/sequencer", SignatureType.ED25519, leaves.public.raw)
        write_private(self.sequencer_file, f"{pen.to_text()}\n".encode())
        settings = toml(config.model_dump(mode="json"))
        write_private(self.config_file, settings)  # last: with it, the log is there
        return LogDocument(
            origin=config.origin,
            ed25519=keys.ed25519.vkey.public,
            ml_dsa_44=keys.mldsa44.vkey.public,
            sequencer=leaves.public.raw,
        )

    @contextmanager
    def open_signer(self, passphrase: bytes) -> Iterator[Signer]:
        """Give the signer as it was left, and be the only process that has it.

        Raises:
            LedgerError: `signer-running`: another process has it; or its state is missing or
                damaged.
            KeyFileError: The key store is, or the passphrase is wrong.
        """
        origin = self.config().origin
        store = KeyStore.open(self._keys / "signer.keystore", passphrase)
        seeds = (store.get(name, "symmetric").secret for name in (ED25519, MLDSA44))
        keys = LogKeys.of(origin, *seeds)
        with sole_signer(self._signer_file.parent):  # before its state is read
            yield Signer.open(self._signer_file, origin, keys.sign)

    def open_sequencer(self, passphrase: bytes) -> SequencerSecrets:
        """Return what the sequencer holds.

        Raises:
            KeyFileError: As `open_signer`.
        """
        store = KeyStore.open(self._keys / "sequencer.keystore", passphrase)
        leaves = SignKey(store.get(LEAVES, "ed25519").secret)
        return SequencerSecrets(leaves, StoredUser(store))

    def committer(self, database: Database) -> Committer:
        """Return what grows this log."""
        shown_every_s = self.config().checkpoint_s
        return Committer(
            self.files,
            SignerClient(self.socket),
            LedgerState(database),
            self.vkeys(),
            shown_every_s,
        )

    def vkeys(self) -> tuple[VKey, ...]:
        """Return the log's public keys.

        Raises:
            LedgerError: `no-log`, or `bad-config`: they cannot be read.
        """
        try:
            lines = self.vkeys_file.read_text("ascii").splitlines()
            return tuple(parse_vkey(line) for line in lines)
        except OSError as error:
            raise LedgerError("no-log", f"{self.vkeys_file} is missing") from error
        except (LogError, ValueError) as error:
            raise LedgerError("bad-config", f"{self.vkeys_file}: {error}") from None

    def cadence(self) -> Cadence:
        """Return when this log grows."""
        config = self.config()
        return Cadence(config.integrate_leaves, config.integrate_s, config.growth_leaves)

    @property
    def _keys(self) -> Path:
        return self.folder / "keys"

    @property
    def _signer_file(self) -> Path:
        return self.folder / "signer" / "signer.json"
