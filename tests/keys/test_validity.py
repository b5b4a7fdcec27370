"""When a key holds: every boundary, judged at a named time."""

from datetime import UTC, datetime, timedelta

import pytest

from keys.directory.validity import Standing
from keys.errors import DirectoryError
from schemas.directory import RevocationReason, VerificationKey

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
LOST = RevocationReason.LOST
COMPROMISED = RevocationReason.COMPROMISED


def _entry(revoked_at: datetime | None = None) -> VerificationKey:
    return VerificationKey(
        key=bytes(32),
        not_before=START,
        not_after=END,
        revoked_at=revoked_at,
        reason=LOST if revoked_at else None,
    )


@pytest.mark.parametrize(
    ("own", "region", "at", "code"),
    [
        (None, None, START - TICK, "key-not-yet-valid"),
        (None, None, START, ""),
        (None, None, END - TICK, ""),
        (None, None, END, "key-expired"),
        (JUNE, None, JUNE - TICK, ""),
        (JUNE, None, JUNE, "key-revoked"),
        (JUNE, None, END, "key-revoked"),
        (None, JUNE, JUNE, "key-revoked"),
        (JULY, JUNE, JUNE, "key-revoked"),
        (JUNE, JULY, JUNE, "key-revoked"),
        (JULY, JULY, JUNE, ""),
        (START - TICK, None, START - TICK, "key-not-yet-valid"),
        (START - TICK, None, START, "key-revoked"),
    ],
)
def test_a_key_holds_from_its_start_until_its_end_or_its_revocation(
    own: datetime | None, region: datetime | None, at: datetime, code: str
) -> None:
    standing = Standing.of(_entry(own), (region, COMPROMISED) if region else None)
    assert standing.holds(at=at) is (not code)
    if not code:
        standing.check(at=at)
        return
    with pytest.raises(DirectoryError) as refused:
        standing.check(at=at)
    assert refused.value.code == code


def test_the_earlier_revocation_gives_the_reason() -> None:
    assert Standing.of(_entry(JUNE), (JULY, COMPROMISED)).reason is LOST
    assert Standing.of(_entry(JULY), (JUNE, COMPROMISED)).reason is COMPROMISED
