r"""Keys under which decisions lie on the AUDIT stream: the gateways hold them, the stream does not.

    name      first 16 bytes of HMAC-SHA256(record key, "kentong/record-name/1\0")
    decision  HMAC-SHA256(record key, "kentong/record/1\0" || SHA-256(signed statement)); one use
    notice    HMAC-SHA256(record key, "kentong/notice/1\0" || 32 random bytes || SHA-256(subject))

Every worker of a hub must open what another one sealed: after a crash, after a lost race, for a
control. So there is one key for all of them, and older ones stay as long as AUDIT is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import SignedStatement
from keys.errors import KeyFileError
from keys.primitives.hashing import hmac_sha256, random_bytes, sha256
from keys.primitives.symmetric import KEY_BYTES

NAME_BYTES: Final = 16
NAME_CONTEXT: Final = b"kentong/record-name/1\0"
DECISION_CONTEXT: Final = b"kentong/record/1\0"
NOTICE_CONTEXT: Final = b"kentong/notice/1\0"


@dataclass(frozen=True)
class RecordKey:
    """One record key; what it seals names it.

    Attributes:
        name: Tells nothing of the key.
    """

    secret: bytes = field(repr=False)
    name: bytes = field(init=False)

    def __post_init__(self) -> None:
        name = hmac_sha256(self.secret, NAME_CONTEXT)[:NAME_BYTES]
        object.__setattr__(self, "name", name)

    @classmethod
    def generate(cls) -> "RecordKey":
        """Return a new one."""
        return cls(random_bytes(KEY_BYTES))

    def of_decision(self, signed: SignedStatement) -> bytes:
        """Return the key of one decision; a statement is signed once, so it seals one message."""
        return hmac_sha256(self.secret, DECISION_CONTEXT + sha256(signed.to_bytes()))

    def of_notice(self, salt: bytes, subject: str) -> bytes:
        """Return the key of one notice; two workers may seal for a subject, so `salt` is random."""
        return hmac_sha256(self.secret, NOTICE_CONTEXT + salt + sha256(subject.encode()))


@dataclass(frozen=True)
class HeldKeys:
    """All record keys of a hub at one time.

    Attributes:
        current: Seals.
        older: Open what they sealed.
        lost: Names of keys that the operator gave up: what they sealed opens no more.
    """

    current: RecordKey
    older: tuple[RecordKey, ...] = ()
    lost: frozenset[bytes] = frozenset()

    @property
    def by_name(self) -> Mapping[bytes, RecordKey]:
        """Every key that opens."""
        return {key.name: key for key in (*self.older, self.current)}


class RecordKeys:
    """The record keys of one process, read again when a worker beside it seals under another."""

    def __init__(self, held: HeldKeys, reread: Callable[[], HeldKeys] | None = None) -> None:
        """Take what is held now, and how to read it anew."""
        self._reread = reread
        self._take(held)

    @classmethod
    def of(cls, *secrets: bytes) -> "RecordKeys":
        """Return keys that do not change; the first one seals."""
        current, *older = map(RecordKey, secrets)
        return cls(HeldKeys(current, tuple(older)))

    @property
    def current(self) -> RecordKey:
        """The key that seals."""
        return self._held.current

    def get(self, name: bytes) -> RecordKey:
        """Return the key called `name`.

        Raises:
            LogError: `record-key-lost`: given up; `record-key-unknown`: not here, or not yet.
        """
        if name not in self._by_name and name not in self._held.lost:
            self._look_again(name)
        if name in self._held.lost:
            raise LogError("record-key-lost", f"the record key {name.hex()} was given up")
        key = self._by_name.get(name)
        if key is None:
            raise _unknown(name)
        return key

    def reread(self) -> None:
        """Take what the key store holds now.

        Raises:
            KeyFileError: It cannot be read; what was held stays.
        """
        if self._reread is not None:
            self._take(self._reread())

    def _look_again(self, name: bytes) -> None:
        try:
            self.reread()
        except KeyFileError as error:
            raise _unknown(name) from error

    def _take(self, held: HeldKeys) -> None:
        self._held, self._by_name = held, dict(held.by_name)


def _unknown(name: bytes) -> LogError:
    text = f"the record key {name.hex()} is not here"
    return LogError("record-key-unknown", text, retry="later")
