"""Officer-facing text: stable codes, English beside them, other languages from gettext catalogues.

The code is the message's gettext context, so that a translation survives a change of the English
wording and two equal English words may differ elsewhere. A missing catalogue or entry shows the
English text; it never shows nothing.
"""

import gettext
import locale
from functools import cache
from pathlib import Path
from typing import Final

import pycountry
from babel import Locale, UnknownLocaleError

from broker.settings import settings

DOMAIN: Final = "kentong"
CATALOGUES: Final = Path(__file__).parent.parent / "locale"
FALLBACK: Final = {"tet": ("pt_TL", "pt")}  # no locale data for Tetum exists in CLDR


def say(code: str, english: str, **values: object) -> str:
    """Return the text of `code` in the officer's language, with `{name}` replaced by `values`."""
    text = _catalogue().pgettext(code, english)
    return text.format(**values) if values else text


def phrase(code: str, english: str) -> tuple[str, str]:
    """Return a text to be said later, by `say`; it stands in the catalogues like one said here."""
    return code, english


def country(code: str) -> str:
    """Return a member's full name: the country's in the officer's language, or the code itself."""
    if len(code) != len("XX"):
        return code
    entry = pycountry.countries.get(alpha_2=code)
    english: str = entry.name if entry is not None else code
    return (_OFFICIAL.get(code) if language() == "en" else None) or _territory(code) or english


def language() -> str:
    """Return the officer's language: the setting, else the locale's, else English."""
    chosen = settings().language or (locale.getlocale()[0] or "en")
    return "en" if chosen in {"C", "POSIX", "en_US", "en_GB"} else chosen


# The United Nations' short English forms where CLDR says otherwise.
_OFFICIAL: Final = {"VN": "Viet Nam", "LA": "Lao PDR", "BN": "Brunei Darussalam", "MM": "Myanmar"}


@cache
def _territory(code: str) -> str | None:
    try:
        names = Locale.parse(language(), sep="_").territories
    except (UnknownLocaleError, ValueError):
        names = Locale("en").territories
    return names.get(code)


@cache
def _catalogue() -> gettext.NullTranslations:
    chosen = language()
    return gettext.translation(
        DOMAIN, CATALOGUES, languages=[chosen, *FALLBACK.get(chosen, ())], fallback=True
    )
