"""The auditors' key: made offline, held by nobody whole, joined by a threshold of members.

What is public goes into `auditors.json`: the key, who holds which share, and a hash of each share,
by which a damaged or foreign one is named. A share has as much entropy as the key it is cut from,
so its hash tells nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from keys.errors import KeyFileError
from keys.kid import kid_of
from keys.primitives.hashing import equal, sha256
from keys.primitives.sealing import SECRET_BYTES, OpenKey
from keys.primitives.sharing import MAX_SHARES, join, split
from schemas.directory import EncryptionPublicKey
from schemas.label import MemberCode, Strict

MIN_THRESHOLD: Final = 2  # with 1, each holder alone reads everything
MAX_FILE_BYTES: Final = 64 * 1024
_MARK: Final = b"kentong/auditors/share/1\0"


class ShareMark(Strict):
    """What everybody may know of a share.

    Attributes:
        number: Its place on the polynomials, from 1.
        mark: SHA-256 over key, number and share, in hexadecimal.
    """

    number: Annotated[int, Field(ge=1, le=MAX_SHARES)]
    mark: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AuditorsFile(Strict):
    """`auditors.json`: the public key, and who holds the private one together.

    Attributes:
        threshold: How many shares give the private key.
        shares: By holder.
    """

    format: Literal[1] = 1
    key: EncryptionPublicKey
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SHARES)]
    shares: Annotated[
        dict[MemberCode, ShareMark], Field(min_length=MIN_THRESHOLD, max_length=MAX_SHARES)
    ]

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.threshold > len(self.shares):
            raise ValueError("the threshold is higher than the number of shares")
        if len({share.number for share in self.shares.values()}) != len(self.shares):
            raise ValueError("two shares have one number")
        return self

    @property
    def kid(self) -> bytes:
        """Identifier of the key."""
        return kid_of(self.key)

    def to_bytes(self) -> bytes:
        """Return the file."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n"


@dataclass(frozen=True)
class Shared:
    """A new key of auditors. The private key itself is not in it, nor anywhere else.

    Attributes:
        file: What is public.
        shares: By holder.
    """

    file: AuditorsFile
    shares: Mapping[str, bytes] = field(repr=False)


def share_new_key(holders: Sequence[str], *, threshold: int) -> Shared:
    """Make a key and share it among `holders`.

    Raises:
        KeyFileError: `bad-threshold`, or `bad-holders`: one stands twice.
    """
    if not MIN_THRESHOLD <= threshold <= len(holders):
        raise KeyFileError(
            "bad-threshold",
            f"the threshold lies between {MIN_THRESHOLD} and the number of holders",
        )
    if len(set(holders)) != len(holders):
        raise KeyFileError("bad-holders", "a holder stands twice")
    key = OpenKey.generate()
    public = key.public.raw
    parts = split(key.secret(), threshold=threshold, shares=len(holders))
    shares = dict(zip(holders, parts, strict=True))
    marks = {
        holder: ShareMark(number=number, mark=_mark(public, number, share))
        for number, (holder, share) in enumerate(shares.items(), start=1)
    }
    return Shared(AuditorsFile(key=public, threshold=threshold, shares=marks), shares)


def joined_key(file: AuditorsFile, shares: Mapping[str, bytes]) -> OpenKey:
    """Return the private key.

    Args:
        file: What is public of it, from the region and not from a holder of a share.
        shares: By holder.

    Raises:
        KeyFileError: `bad-share`, which names the holder; `too-few-shares`; `other-key`: the file
            speaks of another key than the one that was shared.
    """
    for holder, share in shares.items():
        known = file.shares.get(holder)
        if known is None or _mark(file.key, known.number, share) != known.mark:
            raise KeyFileError("bad-share", f"the share of {holder} is damaged or of another key")
    if len(shares) < file.threshold:
        raise KeyFileError(
            "too-few-shares", f"{len(shares)} shares are here, and {file.threshold} are needed"
        )
    secret = join({file.shares[holder].number: share for holder, share in shares.items()})
    if len(secret) != SECRET_BYTES:
        raise KeyFileError("bad-share", "the shares are not of a private encryption key")
    key = OpenKey(secret)
    if not equal(key.public.raw, file.key):
        raise KeyFileError("other-key", "the shares give another key than the file names")
    return key


def parse_auditors(raw: bytes) -> AuditorsFile:
    """Return what an `auditors.json` says, which is not authenticated.

    Raises:
        KeyFileError: `bad-auditors`.
    """
    try:
        return AuditorsFile.model_validate_json(raw[: MAX_FILE_BYTES + 1])
    except ValueError:  # pydantic's is one; it quotes its input
        raise KeyFileError("bad-auditors", "not a description of an auditors' key") from None


def _mark(public: bytes, number: int, share: bytes) -> str:
    return sha256(_MARK, kid_of(public), bytes((number,)), share).hex()
