"""One policy as a table of tests, made once for each version of the directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.label import Facts, Intent
from schemas.policy import UNKNOWN, Direction, Effect, PolicyDocument, Rule
from schemas.registry import known

ALL_TRUE: Final = Facts(personal_data=True, victim=True, minor=True, biometrics=True)
Groups = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Request:
    """One envelope and one recipient, as the rules see them.

    Attributes:
        type: `unknown` where this software does not read the type and version.
        facts: All true for an unknown type.
    """

    intent: Intent
    type: str
    facts: Facts
    recipient: str

    @classmethod
    def of(cls, intent: Intent, recipient: str) -> "Request":
        """Return the request of `intent` to `recipient`."""
        if (intent.type, intent.type_version) in known():
            return cls(intent, intent.type, intent.facts, recipient)
        return cls(intent, UNKNOWN, ALL_TRUE, recipient)


@dataclass(frozen=True)
class Row:
    """A rule with its groups resolved to members; None where it does not ask."""

    rule: Rule
    senders: frozenset[str] | None
    recipients: frozenset[str] | None

    def applies(self, request: Request) -> bool:
        """Return whether every condition of the rule holds."""
        rule, intent = self.rule, request.intent
        return (
            (self.recipients is None or request.recipient in self.recipients)
            and (self.senders is None or intent.sender.member in self.senders)
            and (rule.types is None or request.type in rule.types)
            and (rule.status is None or intent.status in rule.status)
            and _levels_hold(rule, intent)
            and _lists_hold(rule, intent)
            and (rule.facts is None or rule.facts.hold(request.facts))
        )


@dataclass(frozen=True)
class Table:
    """The rows of one policy for one direction, forbidding ones apart."""

    forbid: tuple[Row, ...]
    permit: tuple[Row, ...]

    @classmethod
    def of(cls, policy: PolicyDocument, direction: Direction | None, groups: Groups) -> "Table":
        """Return the rows of `policy` for `direction`; None for the regional agreement."""
        rows = [
            _row(rule, direction, groups) for rule in policy.rule if rule.direction is direction
        ]
        return cls(
            tuple(row for row in rows if row.rule.effect is Effect.FORBID),
            tuple(row for row in rows if row.rule.effect is Effect.PERMIT),
        )

    def forbidding(self, request: Request) -> Rule | None:
        """Return the first rule that forbids, or None."""
        return next((row.rule for row in self.forbid if row.applies(request)), None)

    def permitting(self, request: Request) -> Rule | None:
        """Return the first rule that permits, or None."""
        return next((row.rule for row in self.permit if row.applies(request)), None)


def _row(rule: Rule, direction: Direction | None, groups: Groups) -> Row:
    peers = _members(rule.peers, rule.groups, groups)
    match direction:
        case Direction.EXPORT:
            return Row(rule, None, peers)
        case Direction.IMPORT:
            return Row(rule, peers, None)
        case None:
            return Row(
                rule,
                _members(rule.senders, rule.sender_groups, groups),
                _members(rule.recipients, rule.recipient_groups, groups),
            )


def _members(
    codes: tuple[str, ...] | None, names: tuple[str, ...] | None, groups: Groups
) -> frozenset[str] | None:
    if codes is None and names is None:
        return None
    found = frozenset(codes or ())
    return found.union(*(groups.get(name, frozenset()) for name in names or ()))


def _levels_hold(rule: Rule, intent: Intent) -> bool:
    tlp, level = intent.tlp.rank, intent.classification.level.rank
    return (
        (rule.tlp_at_most is None or tlp <= rule.tlp_at_most.rank)
        and (rule.tlp_at_least is None or tlp >= rule.tlp_at_least.rank)
        and (rule.classification_at_most is None or level <= rule.classification_at_most.rank)
        and (rule.classification_at_least is None or level >= rule.classification_at_least.rank)
    )


def _lists_hold(rule: Rule, intent: Intent) -> bool:
    return (
        (rule.handling_only is None or set(intent.handling) <= set(rule.handling_only))
        and (rule.handling_any is None or not set(intent.handling).isdisjoint(rule.handling_any))
        and (rule.purposes_only is None or set(intent.purposes) <= set(rule.purposes_only))
        and (rule.purposes_any is None or not set(intent.purposes).isdisjoint(rule.purposes_any))
        and (rule.agencies is None or intent.sender.agency in rule.agencies)
    )
