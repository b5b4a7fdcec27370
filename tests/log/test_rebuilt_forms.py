"""What the log puts back has one encoding."""

import pytest

from broker.log.errors import LogError
from broker.log.rebuilt import check_ready, check_rebuilt, decided_before, is_rebuilt, ready
from keys.primitives.signing import SignKey
from schemas import canonical

KEY = SignKey(bytes(32))
STREAM = bytes(16)


def test_true_is_not_taken_for_the_version_one() -> None:
    mark = ready(STREAM, KEY)
    for raw in (decided_before("audit.2026.SG.x", KEY), mark):
        check_rebuilt(raw, "audit.2026.SG.x", KEY.public)
        value = canonical.decode(raw, max_bytes=256)
        assert isinstance(value, list)
        other = canonical.encode([True, *value[1:]])
        assert not is_rebuilt(other)
        with pytest.raises(LogError):
            check_rebuilt(other, "audit.2026.SG.x", KEY.public)
        with pytest.raises(LogError):
            check_ready(other, STREAM, KEY.public)
