"""Evidence outlives the theft of the keys behind it, if witnesses had seen it in the log before."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit.evidence import Evidence, verify_evidence
from broker.audit.findings import Exit
from broker.log.commitments import statement_of
from broker.log.policyfile import parse_policy
from broker.log.proof import parse_proof
from keys.directory.edits import with_revoked_key
from keys.kid import kid_of
from keys.primitives.signing import SignKey
from schemas.decision import Decision
from schemas.directory import RevocationReason
from tests.audit.bundles import leaf, note_of, policy_text, proof_of
from tests.support.directory import RealRegion, found
from tests.support.envelopes import Made, decide, make
from tests.support.region import NOW

HOUR = timedelta(hours=1)
STOLEN = NOW + HOUR
STOLEN_S = int(STOLEN.timestamp())
POLICY = parse_policy(policy_text(quorum=2).encode())


@dataclass
class Case:
    """An alert of SG, the decision on it, and the log's two leaves."""

    region: RealRegion
    made: Made
    decision: Decision
    entries: tuple[bytes, bytes]

    def evidence(self, *times_s: int, leaf_at: int = 1) -> Evidence:
        """Under a checkpoint that witnesses cosigned at these times."""
        proof = proof_of(self.entries, leaf_at, note_of(self.entries, times_s))
        return Evidence(
            envelope=self.made.sealed.raw,
            decision=self.decision.to_bytes(),
            leaf=self.entries[leaf_at],
            proof=proof.to_bytes(),
            directory=self.region.repository.bundle().to_bytes(),
        )

    def verified(self, evidence: Evidence) -> tuple[Exit, list[str]]:
        found = verify_evidence(evidence, POLICY, pinned_root=self.region.founded.root)
        failed = [line for line in found.findings.lines if line.exit is not Exit.PASS]
        return found.findings.exit, [f"{line.check} {line.detail}" for line in failed]

    def steal(self) -> None:
        kid = kid_of(self.region.document().verification_keys[0].key)
        changed = with_revoked_key(
            self.region.document(), kid, at=STOLEN, reason=RevocationReason.COMPROMISED
        )
        self.region.put_own(changed, NOW)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> RealRegion:
    return found(tmp_path_factory.mktemp("evidence") / "region")


@pytest.fixture
def case(founded: RealRegion, tmp_path: Path) -> Case:
    region = founded.copied(tmp_path / "region")
    held = region.as_test_region(region.view(), NOW)
    made = make(held, ("MY",))
    decision = decide(held, made.sealed.raw)
    own = leaf(statement_of(decision, boot=7, seq=1), region.gateway)
    other = leaf(statement_of(decide(held, made.sealed.raw), boot=7, seq=0), region.gateway)
    return Case(region, made, decision, (other, own))


def test_before_anything_was_stolen_it_verifies_whenever_it_was_cosigned(case: Case) -> None:
    assert case.verified(case.evidence(STOLEN_S + 9, STOLEN_S + 9)) == (Exit.PASS, [])


@pytest.mark.parametrize(
    ("times_s", "proves"),
    [
        ((STOLEN_S - 60, STOLEN_S - 1), True),
        ((STOLEN_S - 60, STOLEN_S + 60, STOLEN_S - 1), True),  # two of three are enough
        ((STOLEN_S - 60, STOLEN_S), False),
        ((STOLEN_S - 60, STOLEN_S + 60), False),
    ],
)
def test_under_a_key_stolen_since_it_proves_what_witnesses_had_seen_before(
    case: Case,
    times_s: tuple[int, ...],
    proves: bool,  # noqa: FBT001 - a column of the table
) -> None:
    case.steal()
    code, failed = case.verified(case.evidence(*times_s))
    assert code is (Exit.PASS if proves else Exit.BROKEN)
    assert [each.split()[0] for each in failed] == ([] if proves else ["envelope"])
    assert all("key-revoked-since" in each for each in failed)


@pytest.mark.parametrize(
    "change",
    [
        lambda case: case.evidence(STOLEN_S - 60),  # one witness is no quorum
        lambda case: case.evidence(STOLEN_S - 60, STOLEN_S - 60, leaf_at=0),  # another's leaf
    ],
    ids=["too few", "another leaf"],
)
def test_time_alone_lets_nothing_pass(case: Case, change: Callable[[Case], Evidence]) -> None:
    case.steal()
    assert case.verified(change(case))[0] is not Exit.PASS


def test_evidence_that_is_false_and_unwitnessed_is_false(case: Case) -> None:
    evidence = case.evidence()
    assert case.verified(evidence)[0] is Exit.UNMET
    other = replace(parse_proof(evidence.proof), index=0).to_bytes()
    code, failed = case.verified(replace(evidence, proof=other))
    assert (code, failed[0].split()[0]) == (Exit.BROKEN, "log")
    assert "inclusion-failed" in failed[0]


def test_a_policy_that_asks_for_one_algorithm_of_the_log_proves_too_little(case: Case) -> None:
    lines = policy_text(quorum=2).splitlines(keepends=True)
    for left_out in (0, 1):
        asked = "".join(line for at, line in enumerate(lines) if at != left_out)
        found = verify_evidence(
            case.evidence(STOLEN_S, STOLEN_S),
            parse_policy(asked.encode()),
            pinned_root=case.region.founded.root,
        )
        assert found.findings.exit is Exit.UNMET
        assert "one-algorithm" in found.findings.lines[1].detail


def test_a_leaf_by_the_thief_of_the_gateways_key_is_none_of_it(case: Case) -> None:
    forged = leaf(statement_of(case.decision, boot=7, seq=1), SignKey.generate())
    case.entries = (case.entries[0], forged)
    assert case.verified(case.evidence(STOLEN_S - 60, STOLEN_S - 60))[0] is Exit.BROKEN
