"""What a judgement can be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from broker.envelope.submitted import Submitted
from schemas.decision import VerdictRecord


@dataclass(frozen=True)
class Judged:
    """Each recipient has a verdict; some, all or none of the copies go out."""

    submitted: Submitted = field(repr=False)
    records: Mapping[bytes, VerdictRecord]

    @property
    def accepted(self) -> tuple[str, ...]:
        """Recipients whose copies go out."""
        return tuple(record.recipient for record in self.records.values() if record.accepted)


@dataclass(frozen=True)
class RefusedWhole:
    """Nothing goes out, for good.

    Attributes:
        code: Why.
        digest: The envelope's digest; SHA-256 of the bytes if they could not be read.
        submitted: None if the bytes could not be read, or must not be keyed by the id in them:
            the id is a stranger's, or of a time that no record is kept for.
    """

    code: str
    digest: bytes
    submitted: Submitted | None = field(repr=False)


@dataclass(frozen=True)
class NotNow:
    """Nothing is decided or recorded: the same bytes may be submitted again."""

    code: str
    retry_after_s: int
    id: UUID
    digest: bytes


Judgement: TypeAlias = Judged | RefusedWhole | NotNow
