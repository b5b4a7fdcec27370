"""What a hub shows of its queues, and when it calls itself ready."""

from datetime import timedelta

import pytest

from broker import clock
from broker.hub.measures import Queue, age_s, queue_of
from broker.hub.pulse import STALE_AFTER, Pulse
from broker.transport.streamstates import StreamState
from tests.support.region import make_region


@pytest.mark.parametrize(
    ("stream", "queue"),
    [
        ("SUBMIT_SG", Queue("submit", "SG", "")),
        ("INBOX_MY_urgent", Queue("inbox", "MY", "urgent")),
        ("HELD_MY_SG", Queue("held", "MY", "SG")),
        ("RECEIPT_INTERPOL", Queue("receipt", "INTERPOL", "")),
        ("AUDIT_2026", Queue("audit", "", "2026")),
        ("EXPIRED", Queue("expired", "", "")),
    ],
)
def test_each_stream_is_named_by_what_it_is_for(stream: str, queue: Queue) -> None:
    assert queue_of(stream) == queue


def test_the_age_of_a_queue_is_that_of_its_oldest_message() -> None:
    now = clock.now()
    oldest = (now - timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"
    assert age_s(StreamState("c", 5, 1, 5, oldest=oldest), now) == pytest.approx(90, abs=0.01)
    assert age_s(StreamState("c", 5), now) == 0


def test_a_hub_is_ready_only_with_server_directory_and_disk() -> None:
    now = clock.now()
    view = make_region(("SG", "MY"), now=now).view
    pulse = Pulse()
    assert set(pulse.checks(now).values()) == {False}
    pulse.view, pulse.looked_at = view, now
    assert pulse.checks(now) == {"connected": False, "directory": True, "writes": True}
    assert not pulse.checks(now + STALE_AFTER)["writes"]
    assert not pulse.checks(view.fresh_until)["directory"]
