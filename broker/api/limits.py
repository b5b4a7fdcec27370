"""Bounds on what desks may ask: sizes, rates and open streams. Every number has a unit."""

from dataclasses import dataclass

from schemas.desk import MAX_ORIGINAL_BYTES

_ALERT_JSON_BYTES = 2 * 1024 * 1024  # an alert of 480 KiB in JSON, with room for escapes


@dataclass(frozen=True)
class Limits:
    """What one node allows its desks.

    Attributes:
        max_body_bytes: An original document in base64 and the alert beside it.
        max_small_body_bytes: Any other body: a signature, a position.
        requests_per_s: Sustained, for each desk.
        burst: Requests of one desk at once.
        failures_per_s: Requests without a valid token, of all strangers together. A desk with a
            valid token is never slowed by them.
        streams_per_desk: Event streams open at once.
        heartbeat_s: A silent stream carries a comment this often, and the token is asked again.
    """

    max_body_bytes: int = MAX_ORIGINAL_BYTES * 4 // 3 + _ALERT_JSON_BYTES
    max_small_body_bytes: int = 16 * 1024
    requests_per_s: float = 50.0
    burst: int = 200
    failures_per_s: float = 5.0
    streams_per_desk: int = 16
    heartbeat_s: float = 15.0
