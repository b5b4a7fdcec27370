r"""What a witness decides about a checkpoint that it shall cosign. Source: C2SP tlog-witness.

request   "old <size>\n", up to 63 lines of a hash in Base64, "\n", the checkpoint's note
answer    a status of HTTP and a body: the cosignature's line, the size known, or a reason

The same bytes travel over NATS. Everything here is pure: who calls it keeps what was seen, moves
it on by compare-and-swap, and syncs it before the cosignature leaves the process.
"""

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from broker.log.answered import MAX_LOOKED_AT_BYTES, answered_for
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.line import read_base64, read_number, write_base64
from broker.log.merkle import MAX_PROOF_HASHES, check_hashes, verify_consistency
from broker.log.note import Note, SignatureLine, parse_note
from broker.log.notekeys import VKey, verify_note

MAX_REQUEST_BYTES: Final = MAX_LOOKED_AT_BYTES
SIZE_TYPE: Final = "text/x.tlog.size"
_CODE: Final = "bad-witness-request"
_OLD: Final = "old "


@dataclass(frozen=True)
class Seen:
    """The largest tree of one log that a witness cosigned, or none yet.

    Attributes:
        root: None before the first.
        time_s: Of the last cosignature; a clock behind it signs nothing.
    """

    size: int = 0
    root: bytes | None = None
    time_s: int = 0


@dataclass(frozen=True)
class WitnessRequest:
    """A request to cosign; nothing in it is verified."""

    old: int
    proof: tuple[bytes, ...]
    note: Note = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the body."""
        lines = [f"{_OLD}{self.old}", *map(write_base64, self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.to_bytes()


@dataclass(frozen=True)
class Acceptable:
    """A checkpoint that may be cosigned, once it is kept.

    Attributes:
        checkpoint: Sign this, which was parsed, and not the bytes that came.
        note: The checkpoint under the log's verified signatures alone.
    """

    checkpoint: Checkpoint
    note: Note = field(repr=False)


@dataclass(frozen=True)
class WitnessRefusal:
    """Why a checkpoint is not cosigned.

    Attributes:
        status: Of HTTP, as the specification has it.
        body: The size known, for a status of 409; else a reason.
        checkpoint: What was asked for, if a signature of the log under it verified, whatever else
            is wrong: keep the request, and tell the other witnesses, for the log answers for it.
        evidence: The log should not have signed it: nothing shows that it extends what was seen,
            or it is no checkpoint of ours. Otherwise the request may have been overtaken.
        forks: It is another tree of the size that was cosigned last: proof, whoever sent it.
        note: That checkpoint under those of the log's signatures that verified, and nothing else.
    """

    status: HTTPStatus
    body: bytes
    checkpoint: Checkpoint | None = None
    evidence: bool = False
    forks: bool = False
    note: Note | None = field(default=None, repr=False)


def report_of(raw: bytes, keys: tuple[VKey, ...], *, max_bytes: int) -> bytes | None:
    """Return what tells the other witnesses of a refused request; None if the log did not sign it.

    Args:
        raw: The request as it came. If it is well formed and short enough it is told as it is;
            else the checkpoint in it, under those of the log's signatures that verify.
        keys: Of the log.
        max_bytes: Of a report.
    """
    note = answered_for(raw, keys)
    if note is None:
        return None
    try:
        parse_request(raw)
    except LogError:
        return WitnessRequest(0, (), note).to_bytes()
    return raw if len(raw) <= max_bytes else WitnessRequest(0, (), note).to_bytes()


def parse_request(raw: bytes) -> WitnessRequest:
    """Return the request in a body.

    Raises:
        LogError: `bad-witness-request`, or of the note.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise LogError(_CODE, "a request of that length has no checkpoint in it")
    head, blank, note = raw.partition(b"\n\n")
    try:
        first, *rows = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise LogError(_CODE, "a request begins with plain text") from None
    if not blank or not first.startswith(_OLD):
        raise LogError(_CODE, "a request begins with the size that the log believes known")
    if len(rows) > MAX_PROOF_HASHES:
        raise LogError(_CODE, f"a proof has at most {MAX_PROOF_HASHES} hashes")
    proof = tuple(read_base64(row, code=_CODE) for row in rows)
    check_hashes(proof)
    return WitnessRequest(
        read_number(first.removeprefix(_OLD), code=_CODE), proof, parse_note(note)
    )


def judge(raw: bytes, *, keys: tuple[VKey, ...], seen: Seen) -> Acceptable | WitnessRefusal:
    """Return whether the checkpoint in `raw` extends what was seen, in the order of the checks.

    Args:
        raw: The body of the request, not trusted.
        keys: Of the one log that is witnessed; every one of them must have signed.
        seen: What this witness cosigned last.
    """
    try:
        request = parse_request(raw)
        checkpoint = parse_checkpoint(request.note.text)
    except LogError as error:
        return _refused(HTTPStatus.BAD_REQUEST, error, answered_for(raw, keys), seen)
    if checkpoint.origin not in {key.name for key in keys}:
        reason = LogError("unknown-log", "unknown log")
        return _refused(HTTPStatus.NOT_FOUND, reason, answered_for(raw, keys), seen)
    try:
        verified = {each.key for each in verify_note(request.note, keys)}
    except LogError as error:
        return _refused(HTTPStatus.FORBIDDEN, error, answered_for(raw, keys), seen, evidence=True)
    note = Note(request.note.text, _first_of_each(keys, request.note))
    if len(verified) < len(keys) or checkpoint.extensions:
        reason = LogError("log-unsigned", "not signed with every key of the log, or extended")
        return _refused(HTTPStatus.FORBIDDEN, reason, note, seen, evidence=True)
    refusal = _against(request, checkpoint, seen)
    return Acceptable(checkpoint, note) if refusal is None else replace(refusal, note=note)


def _first_of_each(keys: tuple[VKey, ...], note: Note) -> tuple[SignatureLine, ...]:
    """Return the line of each key that `verify_note` looks at: behind it may stand anything."""
    found: dict[VKey, SignatureLine] = {}
    for line in note.signatures:
        for key in keys:
            if key.matches(line):
                found.setdefault(key, line)
    return tuple(found.values())


def _against(request: WitnessRequest, checkpoint: Checkpoint, seen: Seen) -> WitnessRefusal | None:
    forks = _forks(checkpoint, seen)
    if request.old > checkpoint.size:
        reason = b"the old size is larger than the new one\n"
        status = HTTPStatus.BAD_REQUEST
        return WitnessRefusal(status, reason, checkpoint, evidence=forks, forks=forks)
    if request.old != seen.size:
        known = f"{seen.size}\n".encode()
        status = HTTPStatus.CONFLICT
        return WitnessRefusal(status, known, checkpoint, evidence=forks, forks=forks)
    try:
        checkpoint.check_empty_root()
        _check_growth(request, checkpoint, seen)
    except LogError as error:
        reason = f"{error.code}: {error}\n".encode()
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return WitnessRefusal(status, reason, checkpoint, evidence=True, forks=forks)
    return None


def _forks(checkpoint: Checkpoint, seen: Seen) -> bool:
    return checkpoint.size == seen.size and seen.root not in {None, checkpoint.root}


def _check_growth(request: WitnessRequest, checkpoint: Checkpoint, seen: Seen) -> None:
    if not seen.size:
        if request.proof:
            raise LogError("consistency-failed", "nothing needs no proof")
        return
    if seen.root is None:
        raise LogError(_CODE, "a size without a root")
    verify_consistency(
        old=seen.size,
        new=checkpoint.size,
        proof=request.proof,
        old_root=seen.root,
        new_root=checkpoint.root,
    )


def _refused(
    status: HTTPStatus, error: LogError, note: Note | None, seen: Seen, *, evidence: bool = False
) -> WitnessRefusal:
    """Return the refusal of what does not carry every signature of the log, or is malformed.

    Args:
        status: Of the first check that fails.
        error: Why.
        note: What the log signed in it all the same, if anything.
        seen: What was cosigned last.
        evidence: Whether the log should not have sent it so.
    """
    reason = f"{error}\n".encode()
    if note is None:
        return WitnessRefusal(status, reason)
    checkpoint = parse_checkpoint(note.text)
    forks = _forks(checkpoint, seen)
    loud = evidence or forks
    return WitnessRefusal(status, reason, checkpoint, evidence=loud, forks=forks, note=note)
