"""A proof that fits in a file: index, inclusion hashes, checkpoint. Source: C2SP tlog-proof.

c2sp.org/tlog-proof@v1 LF
[extra <base64> LF]
index <n> LF
<base64 hash> LF ...
LF
<checkpoint note>
"""

from dataclasses import dataclass, field
from typing import Final

from broker.log.errors import LogError
from broker.log.line import read_base64, read_number, write_base64
from broker.log.merkle import check_hashes, verify_inclusion
from broker.log.policy import Policy, SignedCheckpoint

# The specification has no limit, and what `extra` holds is for each log to say: a note, 63 hashes,
# and room for as much in Base64 as the largest entry that is read beside it, 64 MiB.
MAX_PROOF_BYTES: Final = 96 * 1024 * 1024
_MAX_HASHES: Final = 63
_MAX_LINES: Final = 3 + _MAX_HASHES  # what comes behind these is cut no more, and refused
_FIRST: Final = "c2sp.org/tlog-proof@v1"
_CODE: Final = "bad-proof"


@dataclass(frozen=True)
class InclusionProof:
    """A leaf's place in a tree whose checkpoint lies beside it; nothing verified yet.

    Attributes:
        index: Of the leaf, from 0.
        hashes: From the leaf's sibling up.
        note: The checkpoint's note, as received.
        extra: Authenticated by nothing: never trust it.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes = field(repr=False)
    extra: bytes | None = field(default=None, repr=False)

    def to_bytes(self) -> bytes:
        """Return the file."""
        extra = [] if self.extra is None else [f"extra {write_base64(self.extra)}"]
        lines = [_FIRST, *extra, f"index {self.index}", *map(write_base64, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note

    def verify(self, leaf: bytes, policy: Policy, *, every_key: bool = True) -> SignedCheckpoint:
        """Return the checkpoint under which `leaf` stands, signed and witnessed as demanded.

        Raises:
            LogError: As `included`; `quorum-unmet`: all of that holds, but too few cosigned.
        """
        signed = self.included(leaf, policy, every_key=every_key)
        policy.require_quorum(signed)
        return signed

    def included(self, leaf: bytes, policy: Policy, *, every_key: bool = True) -> SignedCheckpoint:
        """Return the signed checkpoint under which `leaf` stands; who cosigned it is not asked.

        Apart from `verify` so that a missing quorum, which may still come, hides nothing that is
        false for ever.

        Args:
            leaf: Leaf hash, made by the caller of the entry.
            policy: The caller's own.
            every_key: As `Policy.verify_log`.

        Raises:
            LogError: Of the note, of the log's signatures, or `inclusion-failed`.
        """
        signed = policy.verify_log(self.note, every_key=every_key)
        checkpoint = signed.checkpoint
        verify_inclusion(
            leaf,
            index=self.index,
            size=checkpoint.size,
            proof=self.hashes,
            root=checkpoint.root,
        )
        return signed


def parse_proof(raw: bytes) -> InclusionProof:
    """Return the proof in a file.

    Raises:
        LogError: `bad-proof`.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise LogError(_CODE, f"a proof has at most {MAX_PROOF_BYTES} bytes")
    head, blank, note = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n", _MAX_LINES)  # more would cost more than the file
    except UnicodeDecodeError:
        raise LogError(_CODE, "a proof is plain text") from None
    if not blank or lines.pop(0) != _FIRST:
        raise LogError(_CODE, f"the first line of a proof is {_FIRST}")
    extra: bytes | None = None
    if lines and lines[0].startswith("extra "):
        extra = read_base64(lines.pop(0).removeprefix("extra "), code=_CODE)
    if not lines or not lines[0].startswith("index "):
        raise LogError(_CODE, "a proof names an index")
    index = read_number(lines.pop(0).removeprefix("index "), code=_CODE)
    if len(lines) > _MAX_HASHES:
        raise LogError(_CODE, f"a proof has at most {_MAX_HASHES} hashes")
    hashes = tuple(read_base64(line, code=_CODE) for line in lines)
    try:
        check_hashes(hashes)
    except LogError as error:
        raise LogError(_CODE, str(error)) from None
    return InclusionProof(index, hashes, note, extra)
