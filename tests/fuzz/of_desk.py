"""Parsers at the desk and around it: request bodies, imports, profiles, settings, answers."""

import asyncio
from datetime import date
from functools import partial
from pathlib import Path

from fastapi import Request
from nats.aio.msg import Msg
from pydantic import BaseModel

from broker.api.bodies import read_body
from broker.cli.admin.hub_status import _state
from broker.cli.admin.node_place import NodePlace
from broker.cli.form import AnswerError, Draft
from broker.cli.import_ import read_document
from broker.cli.requests import read_request, request_of
from broker.client.errors import BadAnswer
from broker.client.events import _parse, _problem
from broker.client.profiles import Profile, ProfileBasis, ProfileContact, Profiles
from broker.client.subscription import typed_alert
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.importers.header import Header
from broker.importers.misp import import_misp
from broker.importers.report import ImportRefusedError
from broker.importers.stix import import_stix
from broker.importers.table import import_row, read_map, read_rows
from broker.ledger.place import LedgerPlace
from broker.transport.answers import ack_of
from broker.transport.storing import stores
from schemas.desk import CursorAck, DraftRequest, InboxItem, SubmitRequest
from tests.fuzz.parser import Parser, folder, from_file

HEADER = Header(
    as_of=date(2026, 11, 24),
    contact={"function": "Duty officer", "phones": ["+6565550100"]},
    legal_basis=({"instrument": "aseanapol"},),
    offences=({"iccs": "iccs:0903"},),
)
PROFILE = Profile(
    url="unix:///run/kentong/api.sock",
    token="kentong_0123456789ab_" + "A" * 43,
    member="SG",
    agency="SPF",
    contact=ProfileContact(function="Duty officer", phones=("+6562355000",)),
    legal_basis=(ProfileBasis(instrument="asean-mlat-2004"),),
    language="en",
    to=("MY", "VN"),
)
COLUMNS = b"""type = "drugs"
reference = "case"
prefix = "TABLE"
[[field]]
to = "substances.0.code"
value = "methamphetamine"
[[field]]
to = "substances.0.quantity.value"
column = "cantidad"
cut = 4
[[field]]
to = "substances.0.quantity.unit"
column = "unit"
codes = { GRAMO = "g" }
[[field]]
to = "substances.0.quantity.weighing"
value = "unknown"
[[field]]
to = "substances.0.quantity.measured"
value = "measured"
[[field]]
to = "event_kind"
value = "suspicious-shipment"
[[field]]
to = "when.edtf"
column = "day"
"""
MAP = read_map(COLUMNS)
ROW = {"case": "1", "cantidad": "12", "unit": "GRAMO", "day": "2026-11-24"}


def body(model: type[BaseModel], raw: bytes) -> object:
    """What a route does with a body that the server hands to it."""

    async def received() -> dict[str, object]:
        return {"type": "http.request", "body": raw, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, received)
    return asyncio.run(read_body(request, model, max_bytes=2**20))


def table(raw: bytes) -> object:
    made = []
    for number, row in enumerate(read_rows(raw)[:20], 1):
        try:
            made.append(import_row(row, MAP, HEADER, number=number))
        except ImportRefusedError as error:
            made.append(error)
    return made


def mapped(raw: bytes) -> object:
    return import_row(ROW, read_map(raw), HEADER, number=1)


def request(path: Path) -> object:
    return request_of(read_request(path), PROFILE, original=None)


def draft(path: Path) -> object:
    try:
        return Draft.load(path)
    except AnswerError as error:  # what the form shows the officer
        raise BrokerError("draft", str(error)) from error


def profiles(raw: bytes) -> object:
    (folder() / "profiles.toml").write_bytes(raw)
    (folder() / "profiles.toml").chmod(0o600)
    return Profiles.load(folder())


def place(name: str, raw: bytes) -> Path:
    path = folder() / name
    path.mkdir(mode=0o700, exist_ok=True)
    (path / "config.toml").write_bytes(raw)
    return folder()


def event(raw: bytes) -> object:
    found = _parse(raw)
    if found is None or found.name != "problem":
        return found
    raise _problem(found)


def item(raw: bytes) -> object:
    try:
        return typed_alert(InboxItem.model_validate_json(raw))
    except ValueError:  # as the subscription does
        raise BadAnswer from None


def hub_state(raw: bytes) -> object:
    (folder() / "hub").mkdir(mode=0o700, exist_ok=True)
    place_ = HubPlace(folder())
    place_.state_file.write_bytes(raw)
    return _state(place_)


def ack(raw: bytes) -> object:
    return ack_of(Msg(_client=None, data=raw))  # type: ignore[arg-type] # it never answers


DESK = (
    *(
        Parser(
            f"api-{name}",
            partial(body, model),
            ("broker.api.bodies.read_body", *fields),
            form="json",
            examples=30,
        )
        for name, model, fields in (
            ("draft", DraftRequest, ("schemas.desk.fields._from_hex",)),
            ("submit", SubmitRequest,
             ("schemas.desk.fields._from_base64", "schemas.desk.fields._from_hex")),
            ("cursor", CursorAck, ()),
        )
    ),
    Parser("stix", partial(import_stix, header=HEADER), ("broker.importers.stix.import_stix",
           "broker.importers.report.read_json", "broker.importers.header.alert_of"), form="json"),
    Parser("misp", partial(import_misp, header=HEADER), ("broker.importers.misp.import_misp",
           "broker.importers.misp._moment"),
           form="json"),
    Parser(
        "import",
        lambda raw: read_document(raw, PROFILE),
        ("broker.cli.import_.read_document",),
        form="json",
        like="misp",
    ),
    Parser("table-csv", table, ("broker.importers.table.read_rows",), form="lines"),
    Parser("table-json", table, ("broker.importers.table.import_row",), form="json"),
    Parser("table-map", mapped, ("broker.importers.table.read_map",), form="toml"),
    Parser(
        "request",
        from_file("request.yaml", request),
        ("broker.cli.requests.read_request", "broker.cli.requests.request_of",
         "broker.client.compose.compose"),
        form="lines",
        examples=40,
    ),
    Parser("form-draft", from_file("form.json", draft), ("broker.cli.form.Draft.load",),
           form="json"),
    Parser("profiles", profiles, ("broker.client.profiles.Profiles.load",), form="toml"),
    Parser(
        "node-config",
        lambda raw: NodePlace(place("node", raw)).config(),
        ("broker.cli.admin.node_place.NodePlace.config",),
        form="toml",
    ),
    Parser(
        "hub-config",
        lambda raw: HubPlace(place("hub", raw)).config(),
        ("broker.hub.place.HubPlace.config",),
        form="toml",
    ),
    Parser(
        "ledger-config",
        lambda raw: LedgerPlace(place("log", raw)).config(),
        ("broker.ledger.place.LedgerPlace.config",),
        form="toml",
    ),
    Parser("hub-state", hub_state, ("broker.cli.admin.hub_status._state",), form="json"),
    Parser("event", event, ("broker.client.events._parse", "broker.client.events._problem"),
           form="lines"),
    Parser("item", item, ("broker.client.subscription.typed_alert",), form="json"),
    Parser("nats-ack", ack, ("broker.transport.answers.ack_of",
           "broker.transport.answers.answer_in"), form="json", wire=True),
    Parser("nats-health", stores, ("broker.transport.storing.stores",), form="json"),
)  # fmt: skip
