"""A token bucket."""

import pytest

from broker.admission.quota import Bucket


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(rate_per_s=2.0, burst=3)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.5)
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) > 0
    assert bucket.take(1000.0) == 0.0
