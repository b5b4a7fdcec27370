"""Whom a policy may name: a member or group that nobody bears is an error, never a silent rule.

The states of the region and its two standing groups may always be named, so that a policy need
not change on the day a state joins. Every other name must stand in the directory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from typing_extensions import override

from schemas.directory import RegionMembers
from schemas.errors import SchemaError
from schemas.policy import PolicyDocument, Rule, line_of
from schemas.vocabulary import ASEAN

STANDING_GROUPS: Final = frozenset({"asean", "partners"})
_MEMBER_FIELDS: Final = ("peers", "senders", "recipients")
_GROUP_FIELDS: Final = ("groups", "sender_groups", "recipient_groups")


@dataclass(frozen=True)
class Unknown:
    """A name in a policy that nobody bears.

    Attributes:
        rule: Position of the rule, from 0.
        rule_name: Its name.
        field: The list that holds the name.
        name: As written.
    """

    rule: int
    rule_name: str
    field: str
    name: str

    @override
    def __str__(self) -> str:
        """Say it in one sentence."""
        what = "group" if self.field in _GROUP_FIELDS else "member"
        return f"rule {self.rule_name}: {self.field}: no {what} is called {self.name}"


@dataclass(frozen=True)
class Names:
    """The members and groups that policies may name."""

    members: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, members: Iterable[str], groups: Iterable[str]) -> Self:
        """Return these, with the states of the region and the standing groups."""
        return cls(frozenset(members) | frozenset(ASEAN), frozenset(groups) | STANDING_GROUPS)

    @classmethod
    def of_region(cls, region: RegionMembers) -> Self:
        """Return what the threshold signed: members, past ones too, and groups."""
        return cls.of(region.members, region.group_names())

    def unknown(self, policy: PolicyDocument) -> Unknown | None:
        """Return the first name in `policy` that nobody bears, or None."""
        return next(self._all_unknown(policy), None)

    def check(self, policy: PolicyDocument, raw: bytes) -> None:
        """Return if `policy` names only whom and what there is.

        Args:
            policy: As parsed from `raw`.
            raw: Its text, to tell the line.

        Raises:
            SchemaError: `unknown-name`.
        """
        found = self.unknown(policy)
        if found is not None:
            where: list[int | str] = ["rule", found.rule, found.field]
            line = line_of(raw.decode("utf-8"), where)
            raise SchemaError("unknown-name", f"line {line}: {found}")

    def _all_unknown(self, policy: PolicyDocument) -> Iterator[Unknown]:
        for number, rule in enumerate(policy.rule):
            for field in _MEMBER_FIELDS:
                yield from _beyond(number, rule, field, self.members)
            for field in _GROUP_FIELDS:
                yield from _beyond(number, rule, field, self.groups)


def _beyond(number: int, rule: Rule, field: str, known: frozenset[str]) -> Iterator[Unknown]:
    for name in getattr(rule, field) or ():
        if name not in known:
            yield Unknown(number, rule.name, field, name)
