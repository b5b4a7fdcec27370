"""From a file, a template or a form to a request. Files are JSON or YAML, as an officer likes."""

import json
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml
from typing_extensions import override

from broker.client import Profile
from broker.client.compose import compose
from broker.errors import BrokerError
from schemas.desk import AlertBody, DraftRequest, OriginalDocument

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
_OFFENCES: Final = {"cyber": "iccs:0903", "drugs": "iccs:0601", "trafficking": "iccs:02042"}
_MEDIA: Final = {
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".xml": "application/xml",
    ".stix": "application/stix+json",
    ".misp": "application/vnd.misp+json",
    ".row": "application/json",
}
SUFFIXES: Final = {
    media: suffix for suffix, media in _MEDIA.items() if suffix in (".stix", ".misp", ".row")
}
"""Of the originals that `kentong import` writes, by media type; `send --original` reads it back."""


# The library's own readers of dates, numbers and booleans raise whatever they stumble over.
_NOT_YAML: Final = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
)


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML, and JSON with it, but no aliases: ten lines of them can say a gigabyte."""

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem_mark=mark)
        return super().compose_node(parent, index)


class RequestFileError(BrokerError):
    """A file from which no request can be made; nothing was sent."""


def read_request(path: Path) -> dict[str, Any]:
    """Return the fields in a JSON or YAML file.

    Raises:
        RequestFileError: `bad-file`, and what is wrong with it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestFileError("bad-file", f"{path} cannot be read") from error
    if len(raw) > MAX_FILE_BYTES:
        raise RequestFileError("bad-file", f"{path} has more than {MAX_FILE_BYTES} bytes")
    try:
        value = yaml.load(raw.decode("utf-8"), _PlainLoader)  # noqa: S506 - it is a SafeLoader
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise RequestFileError("bad-file", f"{path} is neither JSON nor YAML{where}") from None
    if not isinstance(value, dict) or not isinstance(value.get("alert"), dict):
        raise RequestFileError(
            "bad-file", f"{path} has no `alert`: kentong send --template cyber shows the form"
        )
    return value


def request_of(
    fields: dict[str, Any], profile: Profile | None, *, original: Path | None
) -> DraftRequest:
    """Return the whole request: the file's fields, else the profile's, else the default.

    Raises:
        RequestFileError: A field is missing or not valid; says which.
    """
    given = dict(fields)
    alert = given.pop("alert")
    said = alert.get("body") or {}
    if not isinstance(said, dict):
        raise RequestFileError("bad-request", "alert.body: the fields of the alert belong there")
    body = {**_from_profile(profile), **said}
    if original is not None:
        given["original"] = read_original(original)
    try:
        typed = AlertBody(
            type=str(alert.get("type", "")),
            version=int(alert.get("version", 1)),
            body=json.loads(json.dumps(body, default=_plain)),
        )
        if "recipients" in given:
            given["to"] = given.pop("recipients")
        return compose(typed, profile, given)  # type: ignore[arg-type] # checked by the model
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RequestFileError("bad-request", _first(error)) from None


def read_original(path: Path) -> OriginalDocument:
    """Return a document to travel with the alert.

    Raises:
        RequestFileError: It cannot be read, or is too large.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestFileError("bad-file", f"{path} cannot be read") from error
    if len(content) > MAX_FILE_BYTES // 2:
        raise RequestFileError("bad-file", f"{path} is too large to travel with an alert")
    media = _MEDIA.get(path.suffix.lower(), "application/octet-stream")
    return OriginalDocument(content=content, media_type=media, name=path.name)


def template(alert_type: str, today: date) -> str:
    """Return a file to fill in for one type of alert.

    Raises:
        RequestFileError: `unknown-type`.
    """
    if alert_type not in _OFFENCES:
        known = ", ".join(sorted(_OFFENCES))
        raise RequestFileError("unknown-type", f"there is a template for {known}")
    special = {
        "cyber": (
            '    title: "What it is, in a line"\n'
            "    incident_classes: [fraud/phishing]\n"
            "    fraud_kinds: [investment]\n"
            "    observables:\n"
            "      - {type: domain, value: example.com, to_ids: true}\n"
        ),
        "drugs": (
            "    event_kind: suspicious-shipment\n"
            f'    when: {{edtf: "{today.isoformat()}"}}\n'
            "    substances:\n"
            "      - code: methamphetamine\n"
            '        quantity: {value: "1", unit: kg, weighing: gross, measured: estimated}\n'
        ),
        "trafficking": (
            '    minors_among_victims: "no"\n'
            "    immediate_danger: false\n"
            "    ilo_indicators: [deception]\n"
        ),
    }[alert_type]
    return (
        "# Fill in, then: kentong send FILE\n"
        "status: exercise        # actual, exercise or test\n"
        "to: [MY]\n"
        "tlp: amber              # clear, green, amber, amber+strict or red\n"
        "purposes: [warn]\n"
        "precedence: routine     # routine, priority, immediate or flash\n"
        "agency: POLICE          # leave out what your profile holds\n"
        "alert:\n"
        f"  type: {alert_type}\n"
        "  version: 1\n"
        "  body:\n"
        "    certainty: suspected\n"
        f'    as_of: "{today.isoformat()}"\n'
        '    national_ref: "YOUR/REF/1"\n'
        "    language: en\n"
        "    contact: {function: Duty officer, phones: ['+6565550100']}\n"
        "    legal_basis: [{instrument: aseanapol}]\n"
        f"    offences: [{{iccs: '{_OFFENCES[alert_type]}'}}]\n"
        f"{special}"
        "    texts:\n"
        '      - {value: "What happened, in your own words.", lang: en}\n'
    )


def header_of(alert_type: str, today: date, reference: str, language: str) -> dict[str, Any]:
    """Return what every alert of the form begins with."""
    return {
        "certainty": "suspected",
        "as_of": today.isoformat(),
        "national_ref": reference,
        "language": language,
        "offences": [{"iccs": _OFFENCES[alert_type]}],
    }


def _from_profile(profile: Profile | None) -> dict[str, Any]:
    if profile is None:
        return {}
    found: dict[str, Any] = {}
    if profile.unit is not None:
        found["unit"] = profile.unit
    if profile.language is not None:
        found["language"] = profile.language
    if profile.contact is not None:
        found["contact"] = profile.contact.model_dump(mode="json", exclude_defaults=True)
    if profile.legal_basis:
        found["legal_basis"] = [
            basis.model_dump(mode="json", exclude_none=True) for basis in profile.legal_basis
        ]
    return found


def _plain(value: object) -> str:
    if isinstance(value, date):  # YAML reads an unquoted date as one
        return value.isoformat()
    raise TypeError("a value that is neither text, number nor list")


def _first(error: Exception) -> str:
    """Return what is wrong without what was typed."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
