"""Which records there can be: a year's stream is open for thirteen months after its end."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from broker import clock
from broker.gateway import record
from broker.gateway.record import AuditTrail
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.streams import years_at
from keys.primitives.signing import SignKey


@pytest.mark.parametrize(
    ("now", "years"),
    [
        (datetime(2027, 1, 10, tzinfo=UTC), (2025, 2026, 2027)),
        (datetime(2027, 6, 1, tzinfo=UTC), (2026, 2027)),
        (datetime(2026, 12, 20, tzinfo=UTC), (2025, 2026, 2027)),
    ],
)
def test_no_year_between_is_left_out(now: datetime, years: tuple[int, ...]) -> None:
    assert years_at(now) == years


def test_nothing_is_looked_for_in_a_stream_that_is_not_there() -> None:
    link = Link(Credentials(("tls://localhost:1",), "", "", SignKey.generate(), "_INBOX", "none"))
    trail, year = AuditTrail(link), clock.now().year
    for of, kept in ((year, True), (year - 1, True), (year - 2, year - 2 in years_at(clock.now())),
                     (year - 3, False), (year + 2, False)):  # fmt: skip
        assert trail.keeps(f"audit.{of}.SG.{uuid4()}") is kept
    assert record.stream_of(f"audit.{year}.SG.x") == f"AUDIT_{year}"
