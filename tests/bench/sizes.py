"""How many bytes an alert is on each way, and what compressing it before sealing saves.

What is sealed does not get shorter any more: so a compressed connection would save nothing but
labels, and would tell by its lengths what two messages have in common.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from broker.envelope.padding import padme
from broker.envelope.submitted import parse_submitted
from schemas.content import encode_alert
from tests.support.alerts import every_alert
from tests.support.envelopes import delivery, make
from tests.support.region import make_region

RECIPIENTS = ("MY", "VN", "TH")


@dataclass(frozen=True)
class Sizes:
    """Bytes of one alert, to one recipient and to three.

    Attributes:
        alert: Encoded.
        content: With the officer's signature and the audience.
        plain: Padded, had it not been compressed.
        sealed: Compressed, padded and sealed, as it is.
        submitted: The envelope to the hub, to one and to three.
        delivered: A copy with its decision, to one and to three.
        squeezed: The envelope to one, had the connection compressed it.
    """

    type: str
    alert: int
    content: int
    plain: int
    sealed: int
    submitted: tuple[int, int]
    delivered: tuple[int, int]
    squeezed: int


def sizes() -> Iterator[Sizes]:
    """Yield those of each type of alert."""
    region = make_region(("SG", *RECIPIENTS))
    for alert in every_alert():
        one, three = (make(region, to, alert=alert) for to in (RECIPIENTS[:1], RECIPIENTS))
        raw = one.sealed.raw
        content = one.content.to_bytes()
        yield Sizes(
            type=alert.TYPE,
            alert=len(encode_alert(alert)),
            content=len(content),
            plain=padme(len(content)),
            sealed=len(parse_submitted(raw).frame.ciphertext),
            submitted=(len(raw), len(three.sealed.raw)),
            delivered=(
                len(delivery(region, raw, "MY")),
                len(delivery(region, three.sealed.raw, "MY")),
            ),
            squeezed=len(zlib.compress(raw, 9)),
        )
