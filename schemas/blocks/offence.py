"""Offences: the ICCS code as the spine, national law beside it as the originator words it."""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from schemas.blocks.base import Country, Line, Text, refuse
from schemas.label import Strict

ICCS = Annotated[str, Field(pattern=r"^iccs:(0[1-9]|1[01])([0-9]{2}([0-9]([0-9])?)?)?$")]
"""UNODC ICCS v1.0: two, four, five or six digits under sections 01 to 11."""


_NOT_FOR_VICTIMS: Final = ("iccs:0802", "iccs:0805")


class Relation(StrEnum):
    """How a national offence relates to the ICCS code (SKOS)."""

    EXACT = "exact"
    BROADER = "broader"
    NARROWER = "narrower"
    RELATED = "related"


class NationalOffence(Strict):
    """An offence in a national law, in the words of that law."""

    country: Country
    law: Line
    section: Line | None = None
    title: Text | None = None


class Offence(Strict):
    """At least one of an ICCS code and a national offence."""

    iccs: ICCS | None = None
    national: NationalOffence | None = None
    relation: Relation | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.iccs is None and self.national is None:
            refuse("empty-offence", "an offence has an ICCS code or a national law")
        if self.relation is not None and (self.iccs is None or self.national is None):
            refuse("relation-of-nothing", "a relation needs both codes")
        return self


def punishes_victims(iccs: str) -> bool:
    """Return whether a code is, or includes, prostitution or illegal entry and stay.

    Victims are not to be punished for what they were made to do (ACTIP, article 14): such a code is
    never attached to a victim.
    """
    return any(code.startswith(iccs) or iccs.startswith(code) for code in _NOT_FOR_VICTIMS)
