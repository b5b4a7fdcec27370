"""What a source says of how far it may go: TLP and PAP, as STIX and MISP write them.

Sources: FIRST TLP 2.0; OASIS STIX 2.1 section 7.2.1.4 (the four marking objects of TLP 1.0) and
the OASIS extension for TLP 2.0; the MISP taxonomies `tlp` and `PAP`. An alert has one marking, so
the strictest that stands anywhere in the source is the alert's: it is never lowered by an import.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.vocabulary import PAP, TLP

_EXTENSION: Final = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
_KNOWN: Final[Mapping[str, str]] = {  # by the id that every producer shares
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "tlp:white",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "tlp:green",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "tlp:amber",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "tlp:red",
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": "tlp:clear",
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "tlp:green",
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": "tlp:amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "tlp:amber+strict",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": "tlp:red",
}
_WHITE: Final = "white"  # until TLP 2.0; PAP had it too
UNMARKED: Final = TLP.AMBER
"""Taken where a source is silent: its receiver may use it, and not pass it on."""


@dataclass(frozen=True)
class Marking:
    """How far a source may go, as it says itself.

    Attributes:
        tlp: The strictest that was found; None where the source is silent.
        pap: Likewise.
        notes: Codes of what an officer should know: `white-is-clear`, `tlp-unknown` (a marking
            that TLP 2.0 does not have), `strictest-taken` (there were several), `unmarked`.
    """

    tlp: TLP | None = None
    pap: PAP | None = None
    notes: tuple[str, ...] = ()


def marking_of(tags: Iterable[str]) -> Marking:
    """Return the marking that `tags` amount to, which are not trusted; others are passed over."""
    found: set[TLP] = set()
    actions: set[PAP] = set()
    notes: set[str] = set()
    for tag in tags:
        scheme, colon, word = tag.strip().casefold().partition(":")
        if scheme not in ("tlp", "pap") or not colon:
            continue
        if word == _WHITE:
            notes.add("white-is-clear")
            word = str(TLP.CLEAR)
        if scheme == "tlp" and word in set(TLP):
            found.add(TLP(word))
        elif scheme == "pap" and word in set(PAP):
            actions.add(PAP(word))
        else:
            notes.add("tlp-unknown")
    if "tlp-unknown" in notes:
        found.add(UNMARKED)
    if len(found) > 1 or len(actions) > 1:
        notes.add("strictest-taken")
    if not found:
        notes.add("unmarked")
    return Marking(
        max(found, key=list(TLP).index, default=None),
        max(actions, key=list(PAP).index, default=None),
        tuple(sorted(notes)),
    )


def stix_tags(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the objects of a bundle are marked with, as tags.

    A marking that is defined and marks nothing is left aside. Some exporters write markings as
    plain labels, which are read too.
    """
    defined = {
        str(each["id"]): tag
        for each in objects
        if each.get("type") == "marking-definition" and "id" in each and (tag := _defined(each))
    }
    for each in objects:
        references = _texts(each.get("object_marking_refs"))
        granular = each.get("granular_markings")
        if isinstance(granular, list):
            references += [str(m.get("marking_ref")) for m in granular if isinstance(m, dict)]
        for reference in references:
            if tag := _KNOWN.get(reference) or defined.get(reference):
                yield tag
        yield from _texts(each.get("labels"))


def misp_tags(event: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all tags of an event, its attributes and its objects' attributes."""
    holders = [event, *_maps(event.get("Attribute"))]
    for each in _maps(event.get("Object")):
        holders += [each, *_maps(each.get("Attribute"))]
    for holder in holders:
        for tag in _maps(holder.get("Tag")):
            yield str(tag.get("name", ""))


def _defined(each: Mapping[str, Any]) -> str | None:
    extensions, definition = each.get("extensions"), each.get("definition")
    newer = extensions.get(_EXTENSION) if isinstance(extensions, dict) else None
    if isinstance(newer, dict) and "tlp_2_0" in newer:
        return f"tlp:{newer['tlp_2_0']}"
    if isinstance(definition, dict) and "tlp" in definition:
        return f"tlp:{definition['tlp']}"
    return None


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
