"""A policy as a ministry writes it: TOML with ordered, named rules. Parsing authenticates nothing.

    format = 1
    member = "SG"                # not in the regional agreement
    title = "..."
    [[rule]]
    name = "scams-to-neighbours"
    effect = "permit"            # or "forbid", which always wins
    direction = "export"         # or "import"; not in the regional agreement
    types = ["cyber"]
    peers = ["MY"]
    groups = ["asean"]
    tlp_at_most = "amber"
    because = "..."

A rule applies when every condition it states holds; one it does not state, holds. What no rule
permits is refused. A code that is not on its closed list is an error with its line number, never
a rule that silently does not match. Which members and groups there are, only a directory can tell:
`schemas.policynames` asks it.
"""

import re
import tomllib
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from schemas.blocks.base import country_codes
from schemas.errors import SchemaError
from schemas.label import AgencyCode, Facts, MemberCode, Strict
from schemas.vocabulary import TLP, AlertType, Handling, Level, Purpose, Status

FORMAT: Final = 1
MAX_POLICY_BYTES: Final = 128 * 1024
MAX_RULES: Final = 500
_ODD: Final = "not TOML that anybody would write"
UNKNOWN: Final = "unknown"  # any type or version that this software does not read
_TYPES: Final = frozenset({*(str(kind) for kind in AlertType), UNKNOWN})


class Effect(StrEnum):
    """What a rule does where it applies."""

    PERMIT = "permit"
    FORBID = "forbid"


class Direction(StrEnum):
    """Which traffic of a member a rule is about."""

    EXPORT = "export"
    IMPORT = "import"


def _known_type(value: str) -> str:
    if value not in _TYPES:
        raise ValueError(f"not one of {', '.join(sorted(_TYPES))}")
    return value


def _assigned(value: str) -> str:
    if len(value) == 2 and value not in country_codes():  # noqa: PLR2004 - ISO 3166-1 alpha-2
        raise ValueError(f"{value} is no country's code")
    return value


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or len(set(values)) != len(values):
        raise ValueError("a list names at least one code, and none twice")
    return values


GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
RuleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
TypeCode = Annotated[str, AfterValidator(_known_type)]
Members = Annotated[
    tuple[Annotated[MemberCode, AfterValidator(_assigned)], ...], AfterValidator(_some)
]
Groups = Annotated[tuple[GroupName, ...], AfterValidator(_some)]
Line = Annotated[str, Field(min_length=1, max_length=400)]


class FactConditions(Strict):
    """Facts that the label must state, each as given."""

    personal_data: bool | None = None
    victim: bool | None = None
    minor: bool | None = None
    biometrics: bool | None = None

    def hold(self, facts: Facts) -> bool:
        """Return whether every fact that is given is stated so."""
        return (
            self.personal_data in (None, facts.personal_data)
            and self.victim in (None, facts.victim)
            and self.minor in (None, facts.minor)
            and self.biometrics in (None, facts.biometrics)
        )


class Rule(Strict):
    """One rule. `only` lists hold everything the label names; `any` lists need one of it.

    Attributes:
        peers: The other side: recipient of an export, sender of an import.
        groups: Groups of members, as the threshold signed them, to one of which the peer belongs.
        senders: In the regional agreement: who sends. Likewise the next three.
        agencies: Agencies that send.
    """

    name: RuleName
    effect: Effect
    direction: Direction | None = None
    types: Annotated[tuple[TypeCode, ...], AfterValidator(_some)] | None = None
    peers: Members | None = None
    groups: Groups | None = None
    senders: Members | None = None
    sender_groups: Groups | None = None
    recipients: Members | None = None
    recipient_groups: Groups | None = None
    status: Annotated[tuple[Status, ...], AfterValidator(_some)] | None = None
    tlp_at_most: TLP | None = None
    tlp_at_least: TLP | None = None
    handling_only: tuple[Handling, ...] | None = None
    handling_any: Annotated[tuple[Handling, ...], AfterValidator(_some)] | None = None
    classification_at_most: Level | None = None
    classification_at_least: Level | None = None
    purposes_only: Annotated[tuple[Purpose, ...], AfterValidator(_some)] | None = None
    purposes_any: Annotated[tuple[Purpose, ...], AfterValidator(_some)] | None = None
    facts: FactConditions | None = None
    agencies: Annotated[tuple[AgencyCode, ...], AfterValidator(_some)] | None = None
    because: Line | None = None


class PolicyDocument(Strict):
    """A member's policy, or the regional agreement, which names no member."""

    format: Literal[1]
    member: MemberCode | None = None
    title: Line
    authority: Line | None = None
    in_force: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    rule: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _names_are_distinct_and_sides_fit(self) -> Self:
        names = [rule.name for rule in self.rule]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are called {twice[0]}")
        for rule in self.rule:
            sides = (
                rule.senders,
                rule.sender_groups,
                rule.recipients,
                rule.recipient_groups,
            )
            own = self.member is not None
            if own and (rule.direction is None or any(sides)):
                raise ValueError(
                    f"rule {rule.name}: a member's rule has a direction, and peers or groups"
                )
            if not own and (rule.direction is not None or rule.peers or rule.groups):
                raise ValueError(
                    f"rule {rule.name}: the agreement's rules name senders and recipients"
                )
        return self


def parse_policy(raw: bytes) -> PolicyDocument:
    """Return the policy that `raw`, not yet trusted, writes down.

    Raises:
        SchemaError: `bad-policy`, with the line and what is wrong in it.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise SchemaError("bad-policy", f"a policy has at most {MAX_POLICY_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
        value = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError("bad-policy", f"not TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or of brackets
        raise SchemaError("bad-policy", _ODD) from None
    try:
        return PolicyDocument.model_validate(_typed(value))
    except RecursionError:  # a key of a thousand dots
        raise SchemaError("bad-policy", _ODD) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = [part for part in first["loc"] if not str(part).startswith("function-")]
        line = line_of(text, where)
        message = first["msg"].removeprefix("Value error, ")
        path = ".".join(str(part) for part in where)
        raise SchemaError("bad-policy", f"line {line}: {path}: {message}") from None


_ENUMS: Final[dict[str, type[StrEnum]]] = {
    "effect": Effect,
    "direction": Direction,
    "status": Status,
    "tlp_at_most": TLP,
    "tlp_at_least": TLP,
    "handling_only": Handling,
    "handling_any": Handling,
    "classification_at_most": Level,
    "classification_at_least": Level,
    "purposes_only": Purpose,
    "purposes_any": Purpose,
}


def _typed(value: object, name: str = "") -> object:
    """Return TOML's values as strict models take them: tuples for lists, enums for codes."""
    match value:
        case dict():
            return {key: _typed(item, str(key)) for key, item in value.items()}
        case list():
            return tuple(_typed(item, name) for item in value)
        case str() if name in _ENUMS:
            try:
                return _ENUMS[name](value)
            except ValueError:
                return value  # refused below, where the place of it is known
        case _:
            return value


def line_of(text: str, where: list[int | str]) -> int:
    """Return the line that `where` is on, as nearly as the text tells."""
    lines = text.splitlines()
    start = 0
    match where:
        case ["rule", int(number), *rest]:
            heads = [n for n, line in enumerate(lines) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)]
            start = heads[number] if number < len(heads) else 0
            key = str(rest[0]) if rest else ""
        case [str(key), *_]:
            pass
        case _:
            key = ""
    if key:
        for number, line in enumerate(lines[start:], start):
            if re.match(rf"\s*{re.escape(key)}\s*(=|\.)", line):
                return number + 1
    return start + 1
