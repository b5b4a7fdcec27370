"""Evaluation: a pure function of label, recipients and directory.

A copy goes out only if the sender's export policy, the regional agreement and the recipient's
import policy all permit it, and none forbids it. What none permits is refused; forbid beats
permit. The sender's node, the gateway and the recipient's node each evaluate. A policy that names
a member or group that there is not permits nothing: a rule that silently does not match could be
the one that forbids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from broker.policy.table import Request, Table
from keys.directory.view import DirectoryView
from schemas.label import Intent
from schemas.policy import Direction, PolicyDocument, Rule
from schemas.policynames import Names, Unknown

MAX_ANSWERED: Final = 4096  # less than five megabytes; a sender may vary what it likes
Stage: TypeAlias = Literal["export", "agreement", "import"]


@dataclass(frozen=True)
class Verdict:
    """What the policies say of one recipient.

    Attributes:
        permitted: Whether the copy may go out.
        code: `policy-STAGE-forbid`, `policy-STAGE-default` or `policy-STAGE-unknown-name`, or what
            the directory lacks; empty if permitted.
        rule: The deciding rule, or that none matched; if permitted, the rules that permit.
        policy_hash: SHA-256 of the policy that decided.
        decided_by: Which policy that is.
    """

    permitted: bool
    code: str
    rule: str
    policy_hash: bytes
    decided_by: Stage


@dataclass(frozen=True)
class _Policy:
    """One stage: whose rules, under which name and hash; and the name in it that nobody bears."""

    stage: Stage
    name: str
    table: Table
    hash: bytes
    unknown: Unknown | None

    def says(self, rule: Rule) -> str:
        """Return the rule as it is shown."""
        return f"{self.name}: {rule.effect} {rule.name}"


@dataclass(frozen=True)
class Policies:
    """Every policy of one version of the directory, compiled."""

    _exports: Mapping[str, _Policy]
    _imports: Mapping[str, _Policy]
    _agreement: _Policy
    # Alerts differ less than their ids do: what was answered once is answered again.
    _answered: dict[Request, Verdict] = field(default_factory=dict, compare=False, repr=False)

    def evaluate(self, intent: Intent, recipients: Sequence[str]) -> dict[str, Verdict]:
        """Return the verdict on each recipient.

        Args:
            intent: A label, or what is known of one before sealing.
            recipients: Member codes; one not in the directory is refused.
        """
        verdicts: dict[str, Verdict] = {}
        for recipient in recipients:
            request = Request.of(intent, recipient)
            found = self._answered.get(request)
            if found is None:
                found = self._evaluate(request)
                if len(self._answered) >= MAX_ANSWERED:
                    self._answered.clear()
                self._answered[request] = found
            verdicts[recipient] = found
        return verdicts

    def _evaluate(self, request: Request) -> Verdict:
        exporter = self._exports.get(request.sender)
        importer = self._imports.get(request.recipient)
        if exporter is None or importer is None:
            missing = request.sender if exporter is None else request.recipient
            return Verdict(False, "unknown-member", f"{missing} is no member", b"", "agreement")
        stages = (exporter, self._agreement, importer)
        for policy in stages:
            if policy.unknown is not None:
                return _no(policy, "unknown-name", f"{policy.name}: {policy.unknown}")
        for policy in stages:
            if (rule := policy.table.forbidding(request)) is not None:
                return _no(policy, "forbid", policy.says(rule))
        permits: list[str] = []
        for policy in stages:
            rule = policy.table.permitting(request)
            if rule is None:
                return _no(policy, "default", f"no permit matched in {policy.name}")
            permits.append(policy.says(rule))
        return Verdict(True, "", "; ".join(permits), importer.hash, "import")


def compile_policies(view: DirectoryView) -> Policies:
    """Return the policies of `view` as tables; do it once for each version."""
    members = view.member_views
    return _compiled(
        {code: (member.policy, member.policy_hash) for code, member in members.items()},
        (view.agreement, view.agreement_hash),
        view.groups(),
        view.names(),
    )


def compile_documents(
    members: Mapping[str, PolicyDocument],
    agreement: PolicyDocument,
    groups: Mapping[str, frozenset[str]],
) -> Policies:
    """Return policies that no directory holds yet, to see what they would decide."""
    given = {code: (document, bytes(32)) for code, document in members.items()}
    return _compiled(given, (agreement, bytes(32)), groups, names_among(members, groups))


def names_among(members: Iterable[str], groups: Mapping[str, frozenset[str]]) -> Names:
    """Return whom policies may name where these are the members and groups."""
    return Names.of(frozenset(members).union(*groups.values()), groups)


def _compiled(
    members: Mapping[str, tuple[PolicyDocument, bytes]],
    agreement: tuple[PolicyDocument, bytes],
    groups: Mapping[str, frozenset[str]],
    names: Names,
) -> Policies:
    def stage(direction: Direction) -> dict[str, _Policy]:
        return {
            code: _Policy(
                "export" if direction is Direction.EXPORT else "import",
                f"{code} {direction}",
                Table.of(document, direction, groups),
                digest,
                names.unknown(document),
            )
            for code, (document, digest) in members.items()
        }

    document, digest = agreement
    regional = Table.of(document, None, groups)
    return Policies(
        stage(Direction.EXPORT),
        stage(Direction.IMPORT),
        _Policy("agreement", "regional agreement", regional, digest, names.unknown(document)),
    )


def _no(policy: _Policy, why: str, rule: str) -> Verdict:
    code = f"policy-{policy.stage}-{why}"
    return Verdict(False, code, rule, policy.hash, policy.stage)
