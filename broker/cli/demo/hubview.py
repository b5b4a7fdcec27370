"""The hub with its owner's eyes: what waits in its streams, and what stands on its disk."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from broker.cli.demo.region import DemoRegion
from broker.envelope.decision import parse_delivery
from broker.hub.place import HubPlace
from broker.transport.link import Link
from broker.transport.streams import inbox_of
from schemas.label import Label
from schemas.vocabulary import Kind, Lane

CONNECT_S: Final = 20.0
POLL_S: Final = 0.1
MIN_PHRASE: Final = 20  # characters; a shorter one may stand in a policy or a rule's name by chance
MAX_PHRASE: Final = 40
MAX_PHRASES: Final = 200
_OURS: Final = frozenset(  # of an imported alert: what no source says
    {"contact", "legal_basis", "offences", "language", "certainty", "as_of", "national_ref"}
)


async def waiting_labels(
    region: DemoRegion, recipient: str, lane: Lane, *, types: int
) -> list[tuple[Label, int]]:
    """Return the labels of the alerts that wait for `recipient`, and the sizes of their messages.

    Waits until alerts of so many `types` are there.
    """
    place = HubPlace(region.hub)
    credentials = place.open_hub(region.passphrase).hub_credentials(place, place.config())
    found: list[tuple[Label, int]] = []
    async with Link(credentials) as link:
        await link.wait_connected(CONNECT_S)
        stream, seq = inbox_of(recipient, lane), 1
        while len({label.type for label, _ in found}) < types:
            stored = await link.get_next(stream, seq, f"deliver.{recipient}.>")
            if stored is None:
                await asyncio.sleep(POLL_S)
                continue
            label = parse_delivery(stored.payload).delivered.frame.label
            if label.kind is Kind.ALERT:
                found.append((label, len(stored.payload)))
            seq = stored.seq + 1
    return found


def label_line(label: Label, size: int) -> str:
    """Return a label in a line: what an owner of the hub can say of an alert."""
    facts = [name.replace("_", " ") for name, true in label.facts if true]
    parts = (
        f"{label.sender.member}/{label.sender.agency}",
        label.status.upper(),
        label.type,
        label.precedence,
        f"TLP {label.tlp.upper()}",
        *(code.upper() for code in label.handling),
        "for " + "+".join(label.purposes),
        " and ".join(facts) or "no personal data",
        f"until {label.expires:%Y-%m-%d}",
        f"{size:,} bytes in all",
    )
    return ", ".join(parts)


def phrases_of(body: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Return beginnings of the alert's own texts, long enough to be found by nothing else."""
    texts = (text for name, value in body.items() if name not in _OURS for text in _texts(value))
    long = dict.fromkeys(text[:MAX_PHRASE] for text in texts if len(text) >= MIN_PHRASE)
    return tuple(long)[:MAX_PHRASES]


def search(folder: Path, phrases: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many bytes lie under `folder`, and which of `phrases` stand among them."""
    size, found = 0, set[str]()
    for path in folder.rglob("*"):
        try:
            raw = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:  # the hub runs, and takes files away
            continue
        size += len(raw)
        found |= {phrase for phrase in phrases if phrase.encode() in raw}
    return size, tuple(sorted(found))


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
