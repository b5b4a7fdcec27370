"""STIX 2.0 and 2.1 bundles into cyber alerts. Source: OASIS STIX 2.1; nothing is resolved or run.

The bundle itself travels as the original; the alert is an index over it with every object.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from broker.importers.header import Header, alert_of, original_of
from broker.importers.marking import marking_of, stix_tags
from broker.importers.report import Imported, ImportRefusedError, left_out, read_json
from schemas.cybercodes import EntityType, IndicatorType, ObservableType

MEDIA_TYPE: Final = "application/stix+json"
_TECHNIQUE: Final = re.compile(r"T[0-9]{4}(\.[0-9]{3})?")
_MAX_TITLE: Final = 500
_ENTITIES: Final = frozenset(str(kind) for kind in EntityType)
_INDICATOR_TYPES: Final = frozenset(str(kind) for kind in IndicatorType)
_COMMON: Final = frozenset(
    {
        "id",
        "type",
        "spec_version",
        "created",
        "modified",
        "created_by_ref",
        "lang",
        "revoked",
        "confidence",
        "labels",
        "object_marking_refs",
        "granular_markings",
        "external_references",
    }
)
_RENAMED: Final = {  # of entities: the source's name, and ours
    "name": "name",
    "aliases": "aliases",
    "sectors": "sectors",
    "roles": "roles",
    "goals": "goals",
    "objective": "objective",
    "sophistication": "sophistication",
    "resource_level": "resource_level",
    "primary_motivation": "primary_motivation",
    "secondary_motivations": "secondary_motivations",
    "is_family": "is_family",
    "first_seen": "first_seen",
    "last_seen": "last_seen",
    "published": "published",
    "object_refs": "object_refs",
}
_OBSERVED: Final = {
    "domain-name": ObservableType.DOMAIN,
    "url": ObservableType.URL,
    "ipv4-addr": ObservableType.IPV4,
    "ipv6-addr": ObservableType.IPV6,
    "email-addr": ObservableType.EMAIL,
    "mac-addr": ObservableType.MAC,
    "mutex": ObservableType.MUTEX,
}
_SPOKEN: Final = frozenset({"bundle", "indicator", "relationship", "sighting", "2.0", "2.1"})
Object = Mapping[str, Any]


def import_stix(raw: bytes, header: Header) -> Imported:
    """Return the alert made of a bundle.

    Args:
        raw: Not trusted.
        header: What the bundle does not say.

    Raises:
        ImportRefusedError: Not a bundle, or one that no alert can hold.
    """
    bundle = read_json(raw)
    if not (isinstance(bundle, dict) and bundle.get("type") == "bundle"):
        raise ImportRefusedError("not-stix", "the source is not a STIX bundle")
    objects = bundle.get("objects")
    if not isinstance(objects, list) or not all(_is_object(each) for each in objects):
        raise ImportRefusedError("not-stix", "the bundle's objects are not STIX objects")
    ident = str(bundle.get("id", ""))
    old = bundle.get("spec_version") == "2.0"
    fields: dict[str, Any] = {
        **header.fields(_reference(ident)),
        "title": _title(objects, ident),
        "source": {"format": "stix-2.0" if old else "stix-2.1", "id": ident or None},
        "original": original_of(raw, MEDIA_TYPE),
    }
    fields |= _sorted_in(objects, header.language)
    alert = alert_of("cyber", fields)
    left = left_out(bundle, alert, also=_SPOKEN)
    return Imported(alert, raw, MEDIA_TYPE, left, marking_of(stix_tags(objects)))


def _sorted_in(objects: list[Object], lang: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "indicators",
            "observables",
            "relationships",
            "sightings",
            "entities",
            "techniques",
        )
    }
    for each in objects:
        match each["type"]:
            case "indicator":
                found["indicators"].append(_indicator(each, lang))
            case "relationship":
                found["relationships"].append(_relationship(each, lang))
            case "sighting":
                found["sightings"].append(_sighting(each, lang))
            case str(kind) if kind in _OBSERVED and isinstance(each.get("value"), str):
                found["observables"].append(
                    {"type": str(_OBSERVED[kind]), "value": each["value"], "id": each.get("id")}
                )
            case _:
                found["entities"].append(_entity(each, lang))
                if technique := _technique(each):
                    found["techniques"].append(technique)
    return found


def _indicator(each: Object, lang: str) -> dict[str, Any]:
    types = [str(kind) for kind in _list(each, "indicator_types")]
    known = {"name", "description", "pattern", "pattern_type", "pattern_version", "valid_from"}
    known |= {"valid_until", "indicator_types", "kill_chain_phases"}
    return _present(
        {
            **_common(each, lang, known),
            "name": each.get("name"),
            "description": _text(each.get("description"), lang),
            "pattern": each.get("pattern"),
            "pattern_type": each.get("pattern_type", "stix"),
            "pattern_version": each.get("pattern_version"),
            "indicator_types": [t if t in _INDICATOR_TYPES else f"x-stix:{t}" for t in types],
            "valid_from": each.get("valid_from"),
            "valid_until": each.get("valid_until"),
            "kill_chain_phases": _phases(each),
            "to_ids": True,
        }
    )


def _relationship(each: Object, lang: str) -> dict[str, Any]:
    known = {"relationship_type", "source_ref", "target_ref", "description", "start_time"}
    return _present(
        {
            **_common(each, lang, known | {"stop_time"}),
            "type": each.get("relationship_type"),
            "source": each.get("source_ref"),
            "target": each.get("target_ref"),
            "description": _text(each.get("description"), lang),
            "start": each.get("start_time"),
            "stop": each.get("stop_time"),
        }
    )


def _sighting(each: Object, lang: str) -> dict[str, Any]:
    known = {"sighting_of_ref", "count", "first_seen", "last_seen", "where_sighted_refs"}
    return _present(
        {
            **_common(each, lang, known | {"observed_data_refs", "description"}),
            "of": each.get("sighting_of_ref"),
            "count": each.get("count"),
            "first_seen": each.get("first_seen"),
            "last_seen": each.get("last_seen"),
            "where": each.get("where_sighted_refs"),
            "observed": each.get("observed_data_refs"),
            "description": _text(each.get("description"), lang),
        }
    )


def _entity(each: Object, lang: str) -> dict[str, Any]:
    kind = each["type"]
    types = next((_list(each, name) for name in each if name.endswith("_types")), [])
    known = {*_RENAMED, "description", "contact_information", "kill_chain_phases"}
    known.add("identity_class")
    known |= {name for name in each if name.endswith("_types")}
    return _present(
        {
            **_common(each, lang, known),
            **{ours: each.get(theirs) for theirs, ours in _RENAMED.items()},
            "type": kind if kind in _ENTITIES else f"x-stix:{kind}",
            "identity_class": _one(each.get("identity_class")),
            "description": _text(each.get("description"), lang),
            "contact_information": _text(each.get("contact_information"), lang),
            "types": types,
            "kill_chain_phases": _phases(each),
        }
    )


def _technique(each: Object) -> dict[str, Any] | None:
    for reference in _objects(each, "external_references"):
        ident = str(reference.get("external_id", ""))
        if each["type"] == "attack-pattern" and _TECHNIQUE.fullmatch(ident):
            return _present(
                {
                    "id": ident,
                    "name": each.get("name"),
                    "tactics": _phases(each),
                    "object": each.get("id"),
                }
            )
    return None


def _common(each: Object, lang: str, known: set[str]) -> dict[str, Any]:
    return {
        "id": each.get("id"),
        "created": each.get("created"),
        "modified": each.get("modified"),
        "created_by": each.get("created_by_ref"),
        "lang": each.get("lang"),
        "revoked": each.get("revoked"),
        "confidence": each.get("confidence"),
        "labels": each.get("labels"),
        "markings": each.get("object_marking_refs"),
        "granular_markings": [
            {
                "marking": marking.get("marking_ref") or marking.get("lang"),
                "selectors": marking.get("selectors", []),
            }
            for marking in _objects(each, "granular_markings")
        ],
        "references": [
            _external(reference, lang) for reference in _objects(each, "external_references")
        ],
        "properties": [
            {"name": name, "values": values}
            for name, value in each.items()
            if name not in known | _COMMON and (values := _values(value))
        ],
    }


def _external(reference: Object, lang: str) -> dict[str, Any]:
    return _present(
        {
            "source_name": reference.get("source_name"),
            "external_id": reference.get("external_id"),
            "url": reference.get("url"),
            "description": _text(reference.get("description"), lang),
        }
    )


def _phases(each: Object) -> list[dict[str, Any]]:
    return [
        {"chain": phase.get("kill_chain_name"), "phase": phase.get("phase_name")}
        for phase in _objects(each, "kill_chain_phases")
    ]


def _list(each: Object, name: str) -> list[Any]:
    """Return a list of the source; none where something else stands in its place."""
    found = each.get(name)
    return found if isinstance(found, list) else []


def _objects(each: Object, name: str) -> list[Object]:
    return [one for one in _list(each, name) if isinstance(one, dict)]


def _values(value: object) -> list[str]:
    """Return a custom field's values as text, in order."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _values(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _values(inner)]
    return [] if value is None or value == "" else [str(value)]


def _one(value: object) -> str | None:
    """Return a text that some producers write as a list."""
    return ", ".join(_values(value)) or None


def _text(value: object, lang: str) -> dict[str, str] | None:
    return {"value": value, "lang": lang} if isinstance(value, str) and value.strip() else None


def _title(objects: list[Object], ident: str) -> str:
    for kind in ("report", "campaign", "intrusion-set", "threat-actor", "malware", "indicator"):
        for each in objects:
            if each["type"] == kind and isinstance(each.get("name"), str):
                return " ".join(each["name"].split())[:_MAX_TITLE]
    return ident or "STIX bundle"


def _reference(ident: str) -> str:
    return f"STIX/{ident.rpartition('--')[2] or 'bundle'}"[:80]


def _is_object(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], ())}
