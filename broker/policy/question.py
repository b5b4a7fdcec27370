"""What would happen if: questions to policies, one by one or as a file of cases that must hold."""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, ValidationError

from broker.errors import BrokerError
from broker.policy.evaluate import Policies, Verdict
from schemas.label import (
    AgencyCode,
    Classification,
    Facts,
    Intent,
    MemberCode,
    Retention,
    Sender,
    Strict,
    TypeName,
)
from schemas.vocabulary import (
    TLP,
    Handling,
    JudicialUse,
    Kind,
    Level,
    Precedence,
    Purpose,
    Status,
)

MAX_CASES_BYTES: Final = 1024 * 1024
_KEPT: Final = timedelta(days=30)
Fact = Literal["personal_data", "victim", "minor", "biometrics"]


class Question(Strict):
    """What a policy looks at of an alert that nobody has written yet.

    Attributes:
        from_: Member that sends.
        facts: Those that are true.
    """

    from_: Annotated[MemberCode, Field(alias="from")]
    to: Annotated[tuple[MemberCode, ...], Field(min_length=1, max_length=16)]
    type: TypeName
    status: Status = Status.ACTUAL
    tlp: TLP = TLP.AMBER
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)] = (Purpose.WARN,)
    handling: tuple[Handling, ...] = ()
    classification: Level = Level.NONE
    facts: tuple[Fact, ...] = ()
    agency: AgencyCode = "POLICE"

    def intent(self, now: datetime) -> Intent:
        """Return the label that such an alert would have."""
        until = now + _KEPT
        return Intent(
            alert_id=UUID(int=0),
            rev=1,
            kind=Kind.ALERT,
            type=self.type,
            type_version=1,
            sender=Sender(member=self.from_, agency=self.agency),
            status=self.status,
            precedence=Precedence.ROUTINE,
            tlp=self.tlp,
            handling=self.handling,
            classification=Classification(level=self.classification),
            no_third_party=True,
            orcon=False,
            purposes=self.purposes,
            judicial_use=JudicialUse.WITH_CONSENT,
            expires=until,
            retention=Retention(review_by=until, delete_by=until),
            facts=Facts(**{name: name in self.facts for name in Facts.model_fields}),
            disclose_recipients=False,
        )

    def ask(self, policies: Policies, *, now: datetime) -> dict[str, Verdict]:
        """Return what `policies` say of each recipient."""
        return policies.evaluate(self.intent(now), self.to)


class Case(Question):
    """A question with the answer that must hold.

    Attributes:
        name: Shown when it does not hold.
        expect: For every recipient.
        rule: Name of the rule that must decide, if it matters; empty for any.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    expect: Literal["permit", "refuse"]
    rule: Annotated[str, Field(max_length=64)] = ""

    def failures(self, policies: Policies, *, now: datetime) -> tuple["Failure", ...]:
        """Return where the answer differs from what must hold."""
        found = self.ask(policies, now=now).items()
        return tuple(
            Failure(self.name, recipient, verdict)
            for recipient, verdict in found
            if verdict.permitted != (self.expect == "permit") or not self._named(verdict)
        )

    def _named(self, verdict: Verdict) -> bool:
        return not self.rule or any(
            part.endswith(f" {self.rule}") for part in verdict.rule.split("; ")
        )


@dataclass(frozen=True)
class Failure:
    """One recipient for whom a case does not hold, and what the policies say instead."""

    case: str
    recipient: str
    verdict: Verdict


class _Cases(Strict):
    case: Annotated[tuple[Case, ...], Field(min_length=1, max_length=10_000)]


def parse_cases(raw: bytes) -> tuple[Case, ...]:
    """Return the cases of a TOML file: `[[case]]` tables with the fields of `Case`.

    Raises:
        BrokerError: `bad-cases`, naming the case and the field.
    """
    if len(raw) > MAX_CASES_BYTES:
        raise BrokerError("bad-cases", f"the file is larger than {MAX_CASES_BYTES} bytes")
    try:
        return _Cases.model_validate(tomllib.loads(raw.decode()), strict=False).case
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BrokerError("bad-cases", f"not TOML: {error}") from None
    except RecursionError:
        raise BrokerError("bad-cases", "not TOML: nested too deeply") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BrokerError("bad-cases", f"{where}: {first['msg']}") from None
    except ValueError:  # a number of thousands of digits
        raise BrokerError("bad-cases", "not TOML: a number is too long") from None
