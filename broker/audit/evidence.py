"""One file that proves to a third party who sent what label to whom, when, and the verdict on it.

wire  [1, envelope, decision, leaf, proof, directory]
      [1, envelope, decision, leaf, proof, directory, [recipient, content key, random]]

`envelope` is the submitted or the delivered form, its content sealed; `decision` opens the leaf;
`proof` is a tlog-proof with the cosigned checkpoint; `directory` is a bundle of the region's
directory, verified from the root that the verifier holds. The second form also shows what the
alert says: one recipient gives away the key of this one envelope. Nothing in the file is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from broker.audit.findings import UNMET, Exit, Findings
from broker.envelope.decision import verify_decision
from broker.envelope.delivered import parse_delivered
from broker.envelope.disclosure import Disclosure, Shown, open_disclosed
from broker.envelope.errors import EnvelopeError
from broker.envelope.signed import Frame
from broker.envelope.submitted import parse_submitted
from broker.errors import BrokerError
from broker.log.commitments import check_opening
from broker.log.cosignature import instant_after
from broker.log.errors import LogError
from broker.log.leaf import parse_leaf
from broker.log.merkle import leaf_hash
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.proof import parse_proof
from keys.directory.bundle import parse_bundle
from keys.directory.proving import proved as proved_by
from keys.directory.trust import TrustedDirectory
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from schemas import canonical
from schemas.decision import Decision, parse_decision
from schemas.errors import SchemaError

EVIDENCE_VERSION: Final = 1
MAX_EVIDENCE_BYTES: Final = 32 * 1024 * 1024
_CODE: Final = "bad-evidence"


@dataclass(frozen=True)
class Evidence:
    """The parts of an evidence file, none of them verified."""

    envelope: bytes = field(repr=False)
    decision: bytes = field(repr=False)
    leaf: bytes = field(repr=False)
    proof: bytes = field(repr=False)
    directory: bytes = field(repr=False)
    disclosure: Disclosure | None = None

    def to_bytes(self) -> bytes:
        """Return the file."""
        parts: list[canonical.Value] = [
            self.envelope,
            self.decision,
            self.leaf,
            self.proof,
            self.directory,
        ]
        if (given := self.disclosure) is not None:
            parts.append([given.recipient, given.key, given.random])
        return canonical.encode([EVIDENCE_VERSION, *parts])


@dataclass
class Proved:
    """What an evidence file was found to prove.

    Attributes:
        frame: The envelope, if its sender's signature holds.
        decision: The verdict, if the gateway's signature holds and the leaf is about it.
        signed: The checkpoint, if the leaf stands under it and a quorum cosigned it.
        shown: What the alert says, if that is disclosed and all of it holds.
    """

    findings: Findings = field(default_factory=Findings)
    frame: Frame | None = None
    decision: Decision | None = None
    signed: SignedCheckpoint | None = None
    shown: Shown | None = None


def parse_evidence(raw: bytes) -> Evidence:
    """Return the parts of an evidence file.

    Raises:
        BrokerError: `bad-evidence`.
    """
    try:
        found = canonical.decode(raw, max_bytes=MAX_EVIDENCE_BYTES)
    except SchemaError as error:
        raise BrokerError(_CODE, "this is no evidence file") from error
    match found:
        case [
            int(version),
            bytes(envelope),
            bytes(decision),
            bytes(leaf),
            bytes(proof),
            bytes(directory),
            *rest,
        ] if version == EVIDENCE_VERSION and not isinstance(version, bool):
            return Evidence(envelope, decision, leaf, proof, directory, _disclosure(rest))
        case _:
            raise BrokerError(_CODE, "this is no evidence file of a version read here")


def verify_evidence(evidence: Evidence, policy: Policy, *, pinned_root: bytes) -> Proved:
    """Run every check, whatever failed before.

    Args:
        evidence: Not trusted.
        policy: The verifier's own: keys of the log, and its witnesses.
        pinned_root: The region's first root, which the verifier got out of band.
    """
    proved = Proved()
    view = _checked(proved, "directory", lambda: _view(evidence.directory, pinned_root))
    proved.signed = _checked(proved, "log", lambda: _signed(evidence, policy))
    view = _by_then(view, policy, proved.signed)
    decision = _checked(proved, "decision", lambda: _decision(evidence.decision, view))
    _checked(proved, "leaf", lambda: _about(evidence.leaf, decision, view))
    proved.frame = _checked(proved, "envelope", lambda: _frame(evidence.envelope, decision, view))
    proved.decision = decision
    given = evidence.disclosure
    if given is not None:
        proved.shown = _checked(
            proved, "content", lambda: _shown(given, proved.frame, decision, view)
        )
    return proved


ResultT = TypeVar("ResultT")


def _checked(proved: Proved, name: str, check: Callable[[], ResultT]) -> ResultT | None:
    try:
        found = check()
    except (BrokerError, KeysError, SchemaError) as error:
        end = Exit.UNMET if error.code in UNMET else Exit.BROKEN
        proved.findings.failed(name, f"{error} [{error.code}]", end)
        return None
    proved.findings.passed(name, "verifies")
    return found


def _view(raw: bytes, pinned_root: bytes) -> DirectoryView:
    return TrustedDirectory(parse_bundle(raw), pinned_root=pinned_root).view()


def _signed(evidence: Evidence, policy: Policy) -> SignedCheckpoint:
    signed = parse_proof(evidence.proof).verify(leaf_hash(evidence.leaf), policy)
    signed.require_both()
    return signed


def _by_then(
    view: DirectoryView | None, policy: Policy, signed: SignedCheckpoint | None
) -> DirectoryView | None:
    """Return the directory as it counts for what witnesses saw in the log by then.

    A key that was stolen later may have signed it; that the leaf is about it is checked besides.
    """
    by_s = None if signed is None else policy.quorum_by(signed.cosigned)
    return view if view is None or by_s is None else proved_by(view, by=instant_after(by_s))


def _decision(raw: bytes, view: DirectoryView | None) -> Decision:
    decision = parse_decision(raw)
    verify_decision(decision, _needed(view))
    return decision


def _about(raw: bytes, decision: Decision | None, view: DirectoryView | None) -> None:
    decided, signed = _needed(decision), parse_leaf(raw).signed
    signed.verify(_needed(view).gateway_key(decided.kid, at=decided.header.decided_at))
    check_opening(signed.statement, decided)


def _frame(raw: bytes, decision: Decision | None, view: DirectoryView | None) -> Frame:
    decided = _needed(decision)
    frame = _parsed(raw)
    if frame.digest != decided.header.digest:
        raise LogError("opening-mismatch", "the decision is about another envelope")
    frame.verify(_needed(view), at=decided.header.decided_at, decided=True)
    return frame


def _parsed(raw: bytes) -> Frame:
    try:
        return parse_submitted(raw).frame
    except EnvelopeError:
        return parse_delivered(raw).frame


def _disclosure(rest: list[canonical.Value]) -> Disclosure | None:
    match rest:
        case []:
            return None
        case [[str(recipient), bytes(key), bytes(random)]]:
            return Disclosure(recipient, key, random)
        case _:
            raise BrokerError(_CODE, "this is no evidence file of a version read here")


def _shown(
    given: Disclosure, frame: Frame | None, decision: Decision | None, view: DirectoryView | None
) -> Shown:
    at = _needed(decision).header.decided_at
    return open_disclosed(_needed(frame), given, view=_needed(view), at=at)


def _needed(found: ResultT | None) -> ResultT:
    if found is None:
        raise BrokerError("not-checked", "what it depends on does not verify")
    return found
