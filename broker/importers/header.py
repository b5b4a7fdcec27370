"""What no source says and every alert needs: who answers for it, and under which law."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from pydantic import JsonValue, ValidationError

from broker.importers.report import ImportRefusedError
from schemas.common import Alert, explain
from schemas.registry import model_for


@dataclass(frozen=True)
class Header:
    """The desk's part of an imported alert.

    Attributes:
        as_of: When the source was taken over.
        contact: Whom a recipient may ask.
        legal_basis: Under which instrument it is shared.
        offences: What it is about.
        language: Of the source's texts.
    """

    as_of: date
    contact: Mapping[str, JsonValue]
    legal_basis: tuple[Mapping[str, JsonValue], ...]
    offences: tuple[Mapping[str, JsonValue], ...]
    language: str = "en"
    certainty: str = "reported"

    def fields(self, reference: str) -> dict[str, Any]:
        """Return the fields of the alert's header."""
        return {
            "certainty": self.certainty,
            "as_of": self.as_of.isoformat(),
            "national_ref": reference,
            "contact": dict(self.contact),
            "legal_basis": [dict(each) for each in self.legal_basis],
            "offences": [dict(each) for each in self.offences],
            "language": self.language,
        }


def original_of(raw: bytes, media_type: str) -> dict[str, JsonValue]:
    """Return the reference to the source document."""
    return {"sha256": sha256(raw).hexdigest(), "media_type": media_type, "bytes": len(raw)}


def alert_of(alert_type: str, fields: dict[str, Any]) -> Alert:
    """Return the validated alert.

    Raises:
        ImportRefusedError: `not-valid`, naming the field and never its value.
    """
    model = model_for(alert_type, 1)
    try:
        return model.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise ImportRefusedError("not-valid", str(explain(error, code="not-valid"))) from None
