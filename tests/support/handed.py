"""A message as the hub hands it out, again and again, without a hub."""

from dataclasses import dataclass, field

from broker.transport.message import Message


@dataclass
class Handed:
    """One message of a consumer, and what it is told of it.

    Attributes:
        raw: What is in it.
        subject: Under which it was published.
        consumer: Stream and consumer, as `RECEIPT_SG.SG`.
        told: The acknowledgements, in order.
    """

    raw: bytes
    subject: str
    consumer: str
    told: list[bytes] = field(default_factory=list)

    def message(self, attempt: int) -> Message:
        """It as it is handed out for the so-manieth time, from 1."""

        async def hear(_: str, payload: bytes) -> None:
            self.told.append(payload)

        reply = f"$JS.ACK.{self.consumer}.{attempt}.1.1.1.0"
        return Message.of(self.subject, self.raw, None, reply, hear)
