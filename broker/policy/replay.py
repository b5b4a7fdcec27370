"""A proposed policy against what was received: what would change, before anybody signs it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from broker.errors import BrokerError
from broker.policy.evaluate import Policies, Verdict, compile_documents, names_among
from schemas.label import Intent
from schemas.policy import PolicyDocument
from schemas.policynames import Names

MAX_LABELS_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Documents:
    """Policies as documents, so that one can be exchanged."""

    members: Mapping[str, PolicyDocument]
    agreement: PolicyDocument
    groups: Mapping[str, frozenset[str]]

    def with_policy(self, member: str, policy: PolicyDocument) -> "Documents":
        """Return the same with another policy of `member`."""
        return replace(self, members={**self.members, member: policy})

    def names(self) -> Names:
        """Return the members and groups that a policy among these may name."""
        return names_among(self.members, self.groups)

    def compiled(self) -> Policies:
        """Return them ready to be asked."""
        return compile_documents(self.members, self.agreement, self.groups)


@dataclass(frozen=True)
class Change:
    """One alert that the proposed policy decides otherwise."""

    id: UUID
    before: Verdict
    after: Verdict


@dataclass(frozen=True)
class Received:
    """What policies look at of one alert that was received, and its envelope's id."""

    id: UUID
    intent: Intent


def received_in(raw: bytes) -> tuple[Received, ...]:
    """Return what `kentong inbox --json` wrote, as far as policies look at it.

    Raises:
        BrokerError: `bad-labels`: it is something else.
    """
    try:
        document: Any = json.loads(raw)
        return tuple(_received(item["label"]) for item in document["items"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BrokerError("bad-labels", "this is not what kentong inbox --json writes") from None


def _received(label: Mapping[str, Any]) -> Received:
    known = {name: value for name, value in label.items() if name in Intent.model_fields}
    return Received(UUID(label["id"]), Intent.model_validate_json(json.dumps(known)))


def changes(
    before: Policies, after: Policies, received: Sequence[Received], *, recipient: str
) -> tuple[Change, ...]:
    """Return the alerts for which `recipient` would get another verdict."""
    found = (
        Change(
            one.id,
            before.evaluate(one.intent, (recipient,))[recipient],
            after.evaluate(one.intent, (recipient,))[recipient],
        )
        for one in received
    )
    return tuple(change for change in found if change.before.permitted != change.after.permitted)
