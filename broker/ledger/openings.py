"""What the records hold for auditors, read out of the AUDIT streams, sealed as it stands there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from broker.log.audited import parse_audited
from broker.log.errors import LogError
from broker.log.opening import SealedOpening
from broker.transport.link import Link
from broker.transport.streamstates import stream_states

READ_TOGETHER: Final = 64


async def sealed_openings(link: Link, *, since_s: int = 0) -> AsyncIterator[SealedOpening]:
    """Yield the sealed opening of each decision on record that has one.

    Args:
        link: On the hub's account; reading is all it needs.
        since_s: Seconds since 1970: of decisions from then on.

    Raises:
        TransportError: The server refused, or did not answer.
    """
    for name, state in sorted((await stream_states(link, "audit.>")).items()):
        for first in range(max(1, state.first_seq), state.last_seq + 1, READ_TOGETHER):
            numbers = range(first, min(first + READ_TOGETHER, state.last_seq + 1))
            for found in await asyncio.gather(*(link.get(name, seq) for seq in numbers)):
                opening = None if found is None else _opening(found.payload)
                if opening is not None and opening.signed.statement.time_s >= since_s:
                    yield opening


def _opening(raw: bytes) -> SealedOpening | None:
    try:
        return parse_audited(raw).opening
    except LogError:
        return None  # no decision: a void, a notice, or what the sequencer calls a fault
