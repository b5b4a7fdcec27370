"""One policy as a table of tests, made once for each version of the directory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.label import Facts, Intent
from schemas.policy import UNKNOWN, Direction, Effect, PolicyDocument, Rule
from schemas.registry import known
from schemas.vocabulary import TLP, Handling, Level, Purpose, Status

ALL_TRUE: Final = Facts(personal_data=True, victim=True, minor=True, biometrics=True)
Groups = Mapping[str, frozenset[str]]
_HIGHEST: Final = 99  # above the rank of every level


class Request(NamedTuple):
    """All of one envelope and one recipient that a rule can ask about, and nothing else.

    Attributes:
        type: `unknown` where this software does not read the type and version.
        facts: All true for an unknown type.
    """

    sender: str
    agency: str
    recipient: str
    type: str
    status: Status
    tlp: TLP
    level: Level
    handling: tuple[Handling, ...]
    purposes: tuple[Purpose, ...]
    facts: Facts

    @classmethod
    def of(cls, intent: Intent, recipient: str) -> "Request":
        """Return the request of `intent` to `recipient`."""
        read = (intent.type, intent.type_version) in known()
        return cls(
            intent.sender.member,
            intent.sender.agency,
            recipient,
            intent.type if read else UNKNOWN,
            intent.status,
            intent.tlp,
            intent.classification.level,
            intent.handling,
            intent.purposes,
            intent.facts if read else ALL_TRUE,
        )


Condition = Callable[[Request], bool]


@dataclass(frozen=True)
class Row:
    """A rule and the conditions it has, its groups resolved to members; none that it lacks."""

    rule: Rule
    conditions: tuple[Condition, ...]

    def applies(self, request: Request) -> bool:
        """Return whether every condition of the rule holds."""
        return all(holds(request) for holds in self.conditions)


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
    senders, recipients = None, None
    match direction:
        case Direction.EXPORT:
            recipients = peers
        case Direction.IMPORT:
            senders = peers
        case None:
            senders = _members(rule.senders, rule.sender_groups, groups)
            recipients = _members(rule.recipients, rule.recipient_groups, groups)
    conditions = (*_sides(senders, recipients), *_kinds(rule), *_levels(rule), *_lists(rule))
    return Row(rule, conditions)


def _members(
    codes: tuple[str, ...] | None, names: tuple[str, ...] | None, groups: Groups
) -> frozenset[str] | None:
    if codes is None and names is None:
        return None
    found = frozenset(codes or ())
    return found.union(*(groups.get(name, frozenset()) for name in names or ()))


def _sides(
    senders: frozenset[str] | None, recipients: frozenset[str] | None
) -> Iterator[Condition]:
    if recipients is not None:
        yield lambda request: request.recipient in recipients
    if senders is not None:
        yield lambda request: request.sender in senders


def _kinds(rule: Rule) -> Iterator[Condition]:
    if (types := rule.types) is not None:
        yield lambda request: request.type in types
    if (status := rule.status) is not None:
        yield lambda request: request.status in status
    if (facts := rule.facts) is not None:
        yield lambda request: facts.hold(request.facts)


def _levels(rule: Rule) -> Iterator[Condition]:
    if rule.tlp_at_most is not None:
        yield _tlp_within(0, rule.tlp_at_most.rank)
    if rule.tlp_at_least is not None:
        yield _tlp_within(rule.tlp_at_least.rank, _HIGHEST)
    if rule.classification_at_most is not None:
        yield _classified_within(0, rule.classification_at_most.rank)
    if rule.classification_at_least is not None:
        yield _classified_within(rule.classification_at_least.rank, _HIGHEST)


def _tlp_within(lowest: int, highest: int) -> Condition:
    return lambda request: lowest <= request.tlp.rank <= highest


def _classified_within(lowest: int, highest: int) -> Condition:
    return lambda request: lowest <= request.level.rank <= highest


def _lists(rule: Rule) -> Iterator[Condition]:
    if rule.handling_only is not None:
        handling_only = frozenset(rule.handling_only)
        yield lambda request: handling_only.issuperset(request.handling)
    if rule.handling_any is not None:
        handling_any = frozenset(rule.handling_any)
        yield lambda request: not handling_any.isdisjoint(request.handling)
    if rule.purposes_only is not None:
        purposes_only = frozenset(rule.purposes_only)
        yield lambda request: purposes_only.issuperset(request.purposes)
    if rule.purposes_any is not None:
        purposes_any = frozenset(rule.purposes_any)
        yield lambda request: not purposes_any.isdisjoint(request.purposes)
    if (agencies := rule.agencies) is not None:
        yield lambda request: request.agency in agencies
