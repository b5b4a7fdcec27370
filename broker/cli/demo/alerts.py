"""The alerts of the demonstration. Every case, name and number is made up."""

from datetime import date
from typing import Final

from pydantic import JsonValue

from schemas.desk import AlertBody

PHRASE: Final = "Paper Lantern promises twelve percent a week"
"""Stands in the text of the cyber alert, and is looked for on the hub's disk afterwards."""


def _header(today: date, reference: str, instrument: str, offence: str) -> dict[str, JsonValue]:
    return {
        "certainty": "suspected",
        "as_of": today.isoformat(),
        "national_ref": reference,
        "unit": "Fictional Crime Division, Desk 4",
        "contact": {
            "function": "Duty officer, operations room",
            "phones": ["+6565550100"],
            "emails": ["duty@police.example"],
            "hours": "24/7",
        },
        "offences": [{"iccs": offence}],
        "legal_basis": [{"instrument": instrument}],
        "language": "en",
    }


def cyber(today: date, number: int = 1) -> AlertBody:
    """Return an alert on a false investment platform."""
    return AlertBody(
        type="cyber",
        body={
            **_header(today, f"DEMO/{number:06}", "aseanapol", "iccs:0903"),
            "title": "Fake investment platform Paper Lantern",
            "incident_classes": ["fraud/phishing"],
            "fraud_kinds": ["investment"],
            "texts": [{"value": f"{PHRASE}; victims are led in from a chat.", "lang": "en"}],
            "observables": [{"type": "domain", "value": "paper-lantern.example", "to_ids": True}],
            "wallets": [{"chain": "btc", "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}],
        },
    )


def drugs(today: date) -> AlertBody:
    """Return an alert on a seizure in a container."""
    return AlertBody(
        type="drugs",
        body={
            **_header(today, "DEMO/000900", "un-1988", "iccs:0601"),
            "event_kind": "seized",
            "when": {"edtf": today.isoformat()},
            "substances": [
                {
                    "code": "methamphetamine",
                    "form": "pill-tablet",
                    "quantity": {
                        "value": "412000",
                        "unit": "tablet",
                        "weighing": "gross",
                        "measured": "estimated",
                    },
                }
            ],
            "route": [
                {
                    "seq": 1,
                    "role": "seizure",
                    "location": {"kind": "seizure", "country": "SG", "site": {"code": "seaport"}},
                    "certainty": "confirmed",
                }
            ],
            "containers": [{"number": "CSQU3054383"}],
        },
    )
