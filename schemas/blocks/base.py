"""Field types shared by every block: texts with a language, codes, dates and decimal numbers.

No floats anywhere: a number with a fraction is a decimal string, kept as its source reported it.
Every string has a bound; the alert as a whole is bounded by the 480 KiB of sealed content.
"""

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, NoReturn, Self, TypeVar

import langcodes
import pycountry
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.label import Strict

MAX_LINE: Final = 512  # names, addresses, references: what fits a form's line
MAX_TEXT: Final = 16_384  # the longest description in the test data has 4,796 characters
MAX_INERT: Final = 65_536  # a detection rule (YARA, Sigma) as one string
MAX_FEW: Final = 32  # names, documents, phones of one thing
MAX_MANY: Final = 256  # persons, accounts, items of one alert

_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_CONTROL: Final = re.compile(r"[\t\n\u2028\u2029]")
_INERT_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ZERO_WIDTH: Final = re.compile(r"[\u200b\u2060\ufeff]")
_ZAWGYI: Final = re.compile(  # a vowel before its consonant, or a virama that stacks nothing
    r"(?<![\u1000-\u102a\u103b-\u103f\u1075-\u1081])\u1031|\u1039(?![\u1000-\u1021])"
)
_DECIMAL: Final = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?$"

TRAVEL_CODES: Final = frozenset({"XXA", "XXB", "XXC", "XXX"})  # ICAO 9303-3: stateless, refugees


def refuse(code: str, message: str) -> NoReturn:
    """Raise a validation error with a stable code; `message` must not hold a value."""
    raise PydanticCustomError(code, message)


def clean_text(value: str) -> str:
    """Return `value` in NFC with line ends as LF.

    Raises:
        ValueError: A control character, a direction override (both can forge what a terminal
            shows) or a lone surrogate.
    """
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(value):
        refuse("control-character", "a control character or direction override is not text")
    return unicodedata.normalize("NFC", value)


def clean_line(value: str) -> str:
    """Return `value` cleaned, on one line, trimmed and without invisible spaces."""
    value = _ZERO_WIDTH.sub("", clean_text(value)).strip()
    if not value or _LINE_CONTROL.search(value):
        refuse("not-one-line", "one line of text is expected")
    return value


def search_key(value: str) -> str:
    """Return a key that finds the same name typed another way; never shown as a name."""
    joined = re.sub(r"[\u200b-\u200d\u2060\ufeff]", "", value)
    return unicodedata.normalize("NFKC", joined).casefold()


def _inert(value: str) -> str:
    if _INERT_CONTROL.search(value):
        refuse("control-character", "a control character cannot be carried")
    return value


@lru_cache(maxsize=1024)
def _language(value: str) -> str:
    if not langcodes.tag_is_valid(value):
        refuse("unknown-language", "not a BCP-47 language tag")
    return value


def _member(codes: Callable[[], frozenset[str]], code: str, message: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in codes():
            refuse(code, message)
        return value

    return AfterValidator(check)


@lru_cache(maxsize=1)
def country_codes() -> frozenset[str]:
    """Return the assigned codes of ISO 3166-1 alpha-2."""
    return frozenset(country.alpha_2 for country in pycountry.countries)


@lru_cache(maxsize=1)
def _nationalities() -> frozenset[str]:
    return frozenset(country.alpha_3 for country in pycountry.countries) | TRAVEL_CODES


@lru_cache(maxsize=1)
def _subdivisions() -> frozenset[str]:
    return frozenset(subdivision.code for subdivision in pycountry.subdivisions)


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


@lru_cache(maxsize=1)
def _scripts() -> frozenset[str]:
    return frozenset(script.alpha_4 for script in pycountry.scripts)


def within(low: int, high: int) -> AfterValidator:
    """Return a validator of a decimal string between `low` and `high`, both included."""

    def check(value: str) -> str:
        whole, _, fraction = value.lstrip("-").partition(".")
        sign = -1 if value.startswith("-") else 1
        scaled = sign * int(whole + fraction.ljust(9, "0"))
        if not low * 10**9 <= scaled <= high * 10**9:
            refuse("out-of-range", f"a number from {low} to {high} is expected")
        return value

    return AfterValidator(check)


E = TypeVar("E", bound=StrEnum)


def read_open(codes: type[E], raw: str) -> E | str:
    """Return the code of an open list, or `raw` kept verbatim behind `x-unknown:` (rule R16)."""
    try:
        return codes(raw)
    except ValueError:
        return raw if raw.startswith("x-") else f"x-unknown:{raw[:80]}"


Line = Annotated[str, Field(min_length=1, max_length=MAX_LINE), AfterValidator(clean_line)]
LongText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(clean_text)]
Inert = Annotated[str, Field(min_length=1, max_length=MAX_INERT), AfterValidator(_inert)]
"""A technical string kept byte for byte (a pattern, a file name): never resolved, never run."""

Extension = Annotated[
    str,
    Field(pattern=r"^x-[a-z0-9][a-z0-9-]{0,39}(:[^\x00-\x1f\x7f-\x9f]{1,80})?$"),
]
"""A code that an open list does not hold: `x-name`, or `x-unknown:` and the raw code."""

LocalRef = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
LocalName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ./_:#-]{0,79}$")]
Language = Annotated[str, Field(min_length=2, max_length=35), AfterValidator(_language)]
ScriptCode = Annotated[
    str,
    Field(pattern=r"^[A-Z][a-z]{3}$"),
    _member(_scripts, "unknown-script", "not an ISO 15924 script"),
]
Country = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}$"),
    _member(country_codes, "unknown-country", "not an ISO 3166-1 alpha-2 code"),
]
Nationality = Annotated[
    str,
    Field(pattern=r"^[A-Z]{3}$"),
    _member(_nationalities, "unknown-nationality", "not an ISO 3166-1 alpha-3 or ICAO code"),
]
Subdivision = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$"),
    _member(_subdivisions, "unknown-subdivision", "not an ISO 3166-2 code"),
]
Currency = Annotated[
    str,
    Field(pattern=r"^[A-Z]{3}$"),
    _member(_currencies, "unknown-currency", "not an ISO 4217 code"),
]
Decimal = Annotated[str, Field(pattern=_DECIMAL)]
Amount = Annotated[str, Field(pattern=_DECIMAL.replace("-?", ""))]
Percent = Annotated[str, Field(pattern=_DECIMAL), within(0, 100)]
Confidence = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=10**9)]
SHA256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Text(Strict):
    """What somebody wrote, in the language they wrote it in."""

    value: LongText
    lang: Language
    script: ScriptCode | None = None

    @model_validator(mode="after")
    def _burmese_is_unicode(self) -> Self:
        if self.lang.partition("-")[0] == "my":
            demand_unicode_burmese(self.value)
        return self


def demand_unicode_burmese(value: str) -> None:
    """Return if `value` obeys Unicode's order of Burmese; the Zawgyi encoding does not."""
    if _ZAWGYI.search(value):
        refuse(
            "not-unicode-burmese",
            "this Burmese text is not in Unicode order (Zawgyi?): convert it first",
        )


class ProperName(Strict):
    """A name or category as written: of a place, a ship, a class of sites. No free text."""

    value: Line
    lang: Language | None = None
    script: ScriptCode | None = None


class Block(Strict):
    """Base of the entity blocks.

    A field left out is simply not stated. `unknown` names fields that were asked about and are not
    known, `withheld` fields that are known and not shared. Confidence and source belong to the
    block; of one thing seen through two sources, make two blocks.

    Attributes:
        ref: Name of this block inside the alert, so that others can point to it.
        confidence: Percent.
        source_ref: Which source of the originator's file says so.
        unknown: Names of fields that are not known.
        withheld: Names of fields that are known and not shared.
    """

    ref: LocalRef | None = None
    confidence: Confidence | None = None
    source_ref: Identifier | None = None
    unknown: Annotated[tuple[LocalName, ...], Field(max_length=MAX_FEW)] = ()
    withheld: Annotated[tuple[LocalName, ...], Field(max_length=MAX_FEW)] = ()

    @model_validator(mode="after")
    def _what_is_not_stated_is_absent(self) -> Self:
        named = self.unknown + self.withheld
        if len(set(named)) != len(named):
            refuse("stated-twice", "a field is named twice as unknown or withheld")
        for name in named:
            if name not in type(self).model_fields or name in Block.model_fields:
                refuse("unknown-field", "unknown and withheld name fields of the same block")
            if getattr(self, name) not in (None, ()):
                refuse("stated-and-withheld", "a field is stated and also unknown or withheld")
        return self

    def doubts(self) -> tuple[str, ...]:
        """Return codes of what is allowed here but looks wrong; shown as warnings."""
        return ()
