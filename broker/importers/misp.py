"""MISP events into cyber alerts. Source: MISP core format; nothing is resolved or run."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from broker.importers.header import Header, alert_of, original_of
from broker.importers.marking import marking_of, misp_tags
from broker.importers.report import Imported, ImportRefusedError, left_out, read_json
from schemas.cybercodes import ObservableType
from schemas.threat import Part

MEDIA_TYPE: Final = "application/vnd.misp+json"
_T: Final = ObservableType
_TYPES: Final[Mapping[str, ObservableType]] = {
    "domain": _T.DOMAIN,
    "hostname": _T.HOSTNAME,
    "url": _T.URL,
    "uri": _T.URI_PATH,
    "link": _T.LINK,
    "ip-dst": _T.IPV4,
    "ip-src": _T.IPV4,
    "ip": _T.IPV4,
    "port": _T.PORT,
    "mac-address": _T.MAC,
    "AS": _T.ASN,
    "email": _T.EMAIL,
    "email-src": _T.EMAIL,
    "email-dst": _T.EMAIL,
    "email-subject": _T.EMAIL_SUBJECT,
    "filename": _T.FILE_NAME,
    "size-in-bytes": _T.FILE_SIZE,
    "md5": _T.MD5,
    "sha1": _T.SHA1,
    "sha224": _T.SHA224,
    "sha256": _T.SHA256,
    "sha384": _T.SHA384,
    "sha512": _T.SHA512,
    "ssdeep": _T.SSDEEP,
    "imphash": _T.IMPHASH,
    "x509-fingerprint-sha1": _T.CERTIFICATE,
    "x509-fingerprint-sha256": _T.CERTIFICATE,
    "mutex": _T.MUTEX,
    "regkey": _T.REGISTRY_KEY,
    "user-agent": _T.USER_AGENT,
    "btc": _T.WALLET,
    "xmr": _T.WALLET,
    "iban": _T.BANK_ACCOUNT,
    "phone-number": _T.PHONE,
}
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MAX_DIGITS: Final = 11  # of seconds since 1970: up to the year 5138
Attribute = Mapping[str, Any]


def import_misp(raw: bytes, header: Header) -> Imported:
    """Return the alert made of one event.

    Args:
        raw: One event, with or without MISP's envelope around it; not trusted.
        header: What the event does not say.

    Raises:
        ImportRefusedError: Not an event, or one that no alert can hold.
    """
    whole = read_json(raw)
    event = _event(whole)
    fields: dict[str, Any] = {
        **header.fields(f"MISP/{event['uuid']}"[:80]),
        "title": " ".join(str(event.get("info") or event["uuid"]).split())[:500],
        "source": _source(event),
        "original": original_of(raw, MEDIA_TYPE),
    }
    attributes = [_observable(each, header.language, None) for each in _list(event, "Attribute")]
    groups = []
    for each in _list(event, "Object"):
        groups.append(_group(each, header.language))
        attributes += [
            _observable(inner, header.language, str(each.get("uuid")))
            for inner in _list(each, "Attribute")
        ]
    fields |= {
        "observables": attributes,
        "groups": groups,
        "entities": [
            _cluster(cluster, header.language)
            for galaxy in _list(event, "Galaxy")
            for cluster in _list(galaxy, "GalaxyCluster")
        ],
    }
    alert = alert_of("cyber", fields)
    left = left_out(whole, alert, also=set(_converted(event)))
    return Imported(alert, raw, MEDIA_TYPE, left, marking_of(misp_tags(event)))


def _converted(event: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the alert says in another form: times, and compound values in parts."""
    holders = [event, *_list(event, "Attribute"), *_list(event, "Object")]
    for each in _list(event, "Object"):
        holders += [*_list(each, "Attribute"), *_list(each, "ObjectReference")]
    for each in holders:
        for name in ("timestamp", "publish_timestamp"):
            if _moment(each.get(name)):
                yield str(each[name])
        if "|" in str(each.get("type", "")):
            yield str(each.get("value", ""))


def _event(whole: object) -> Mapping[str, Any]:
    found = whole
    if isinstance(found, dict) and isinstance(found.get("response"), list):
        listed = found["response"]
        if len(listed) != 1:
            raise ImportRefusedError("not-misp", "one event at a time is imported")
        found = listed[0]
    if isinstance(found, dict) and isinstance(found.get("Event"), dict):
        found = found["Event"]
    if not isinstance(found, dict) or not isinstance(found.get("uuid"), str):
        raise ImportRefusedError("not-misp", "the source is not a MISP event")
    return found


def _source(event: Mapping[str, Any]) -> dict[str, Any]:
    return _present(
        {
            "format": "misp",
            "id": event.get("uuid"),
            "extends": event.get("extends_uuid") or None,
            "organisation": _name(event.get("Orgc")),
            "owner": _name(event.get("Org")),
            "date": event.get("date"),
            "modified": _moment(event.get("timestamp")),
            "published": _moment(event.get("publish_timestamp")),
            "threat_level": _line(event.get("threat_level_id")),
            "analysis": _line(event.get("analysis")),
            "distribution": _line(event.get("distribution")),
            "related": [
                str(inner["uuid"])
                for each in _list(event, "RelatedEvent")
                if isinstance(inner := each.get("Event"), dict) and "uuid" in inner
            ],
            "tags": [str(tag["name"]) for tag in _list(event, "Tag") if tag.get("name")],
        }
    )


def _observable(each: Attribute, lang: str, group: str | None) -> dict[str, Any]:
    source_type, value = str(each.get("type", "")), str(each.get("value", ""))
    kinds = source_type.split("|")
    values = value.split("|") if len(kinds) > 1 else [value]
    if len(values) != len(kinds):
        kinds, values = [source_type], [value]
    parts = [_part(kind, text) for kind, text in zip(kinds, values, strict=True)]
    properties = [
        {"name": name, "values": [str(each[name])]}
        for name in ("sharing_group_id",)
        if str(each.get(name) or "0") != "0"
    ]
    return _present(
        {
            **parts[0],
            "parts": parts[1:],
            "id": each.get("uuid"),
            "source_type": source_type,
            "category": each.get("category"),
            "comment": _text(each.get("comment"), lang),
            "to_ids": bool(each.get("to_ids")),
            "timestamp": _moment(each.get("timestamp")),
            "first_seen": each.get("first_seen"),
            "last_seen": each.get("last_seen"),
            "tags": [str(tag["name"]) for tag in _list(each, "Tag") if tag.get("name")],
            "group": group,
            "relation": each.get("object_relation"),
            "distribution": _line(each.get("distribution")),
            "properties": properties,
        }
    )


def _part(kind: str, value: str) -> dict[str, Any]:
    """Return the value under its type, or as text where it has not the form of its type."""
    known = _TYPES.get(kind, _T.TEXT)
    if known is _T.IPV4 and ":" in value:
        known = _T.IPV6
    if known is _T.IPV4 and "/" in value:
        known = _T.IP_RANGE
    try:
        Part(type=known, value=value)
    except ValidationError:
        return {"type": str(_T.TEXT), "value": value}
    return {"type": str(known), "value": value}


def _group(each: Mapping[str, Any], lang: str) -> dict[str, Any]:
    return _present(
        {
            "id": each.get("uuid"),
            "name": each.get("name"),
            "category": each.get("meta-category"),
            "description": _text(each.get("description"), lang),
            "template": each.get("template_uuid"),
            "template_version": _line(each.get("template_version")),
            "comment": _text(each.get("comment"), lang),
            "timestamp": _moment(each.get("timestamp")),
            "first_seen": each.get("first_seen"),
            "last_seen": each.get("last_seen"),
            "distribution": _line(each.get("distribution")),
            "references": [
                _present(
                    {
                        "target": one.get("referenced_uuid"),
                        "relationship": one.get("relationship_type"),
                        "comment": _text(one.get("comment"), lang),
                        "id": one.get("uuid"),
                        "timestamp": _moment(one.get("timestamp")),
                    }
                )
                for one in _list(each, "ObjectReference")
            ],
        }
    )


def _cluster(each: Mapping[str, Any], lang: str) -> dict[str, Any]:
    meta = each.get("meta")
    given = meta if isinstance(meta, dict) else {}
    return _present(
        {
            "type": f"x-misp-galaxy:{str(each.get('type', 'cluster'))[:80]}",
            "id": _id(each.get("uuid")),
            "name": each.get("value"),
            "description": _text(each.get("description"), lang),
            "aliases": _strings(given.get("synonyms")),
            "countries": _strings(given.get("country")),
            "labels": [str(each["tag_name"])] if each.get("tag_name") else [],
            "references": [
                {"source_name": "misp-galaxy", "url": url} for url in _strings(given.get("refs"))
            ],
            "properties": [
                {"name": name, "values": values}
                for name, value in [
                    ("authors", each.get("authors")),
                    ("source", each.get("source")),
                    *((k, v) for k, v in given.items() if k not in {"synonyms", "country", "refs"}),
                ]
                if (values := _strings(value))
            ],
        }
    )


def _id(value: object) -> str | None:
    text = str(value or "")
    return text if _ID.fullmatch(text) else None


def _list(each: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = each.get(name)
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict)]


def _strings(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(each) for each in value if each not in (None, "")]
    return [str(value)] if value not in (None, "") else []


def _name(value: object) -> str | None:
    return str(value["name"]) if isinstance(value, dict) and value.get("name") else None


def _line(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def _moment(value: object) -> str | None:
    """Return MISP's seconds since 1970 as RFC 3339."""
    text = str(value or "0")
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_DIGITS or not int(text):
        return None
    return datetime.fromtimestamp(int(text), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object, lang: str) -> dict[str, str] | None:
    return {"value": value, "lang": lang} if isinstance(value, str) and value.strip() else None


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], ())}
