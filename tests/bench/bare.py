"""The least that a gateway could do, on nats-py alone: what ours is measured against.

    python -m tests.bench.bare CREDENTIALS

Pulls, verifies one Ed25519 signature, makes one, publishes three deliveries and one record, waits
for the four acknowledgements, acknowledges. On uvloop, with one inbox for all acknowledgements:
the quickest loop known over this library. It parses nothing, knows no policy, tells nobody.
"""

import asyncio
import base64
import itertools
import json
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker.transport.credentials import Credentials
from broker.transport.errors import Refused
from broker.transport.link import Link
from keys.primitives.signing import SIGNATURE_BYTES, SignKey

SUBMIT, AUDIT = "BARE_SUBMIT", "BARE_AUDIT"
INBOXES = ("BARE_INBOX_1", "BARE_INBOX_2", "BARE_INBOX_3")
QUEUE = "BARE"
BATCH = 64  # as our worker pulls
LOOPS = 4  # as many lanes as ours has with something in them
WAIT_S = 3.0
AUDIT_BYTES = 1024
_SECOND = 1_000_000_000


async def make_streams(hub: Link) -> None:
    """Streams with the settings of ours; those of an earlier run are kept."""
    for name, subject in (
        (SUBMIT, "bare.submit.>"),
        (AUDIT, "bare.audit.>"),
        *((name, f"bare.deliver.{number}.>") for number, name in enumerate(INBOXES)),
    ):
        body = {
            "name": name,
            "subjects": [subject],
            "storage": "file",
            "discard": "new",
            "retention": "limits" if name == AUDIT else "workqueue",
            "max_bytes": 256 * 1024 * 1024,
            "num_replicas": 1,
            "duplicate_window": 120 * _SECOND,
        }
        with suppress(Refused):
            await hub.api(f"STREAM.CREATE.{name}", body)
        if name == SUBMIT:
            config = {
                "durable_name": QUEUE,
                "ack_policy": "explicit",
                "ack_wait": 45 * _SECOND,
                "max_ack_pending": 2000,
            }
            body = {"stream_name": name, "config": config}
            await hub.api(f"CONSUMER.DURABLE.CREATE.{name}.{QUEUE}", body)


class BareLoop:
    """One connection, and the acknowledgements that it waits for."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._prefix = client.new_inbox()
        self._waiting: dict[str, tuple[asyncio.Future[None], list[int]]] = {}
        self._key, self._known = SignKey.generate(), PEN.public
        self._count = itertools.count()

    async def begin(self) -> None:
        await self.client.subscribe(f"{self._prefix}.*", cb=self._acked)

    async def run(self) -> None:
        """Pull for ever: what is there at once, else the first to come."""
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{SUBMIT}.{QUEUE}"
        body: dict[str, Any] = {"batch": BATCH, "no_wait": True}
        while True:
            await self.client.publish(subject, json.dumps(body).encode(), reply=inbox)
            batch: list[Msg] = []
            while len(batch) < int(body["batch"]):
                message = await subscription.next_msg(timeout=None)
                if not message.reply.startswith("$JS.ACK"):
                    break
                batch.append(message)
            await asyncio.gather(*(self._carry(each) for each in batch))
            body = (
                {"batch": BATCH, "no_wait": True}
                if batch
                else {"batch": 1, "expires": int(WAIT_S * _SECOND)}
            )

    async def _carry(self, message: Msg) -> None:
        signature, signed = message.data[:SIGNATURE_BYTES], message.data[SIGNATURE_BYTES:]
        self._known.verify(signature, signed)
        record = self._key.sign(signed).ljust(AUDIT_BYTES, b"\0")
        token = str(next(self._count))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[token] = (done, [len(INBOXES) + 1])
        reply, name = f"{self._prefix}.{token}", message.subject.rpartition(".")[2]
        headers = {"Nats-Msg-Id": name}
        for number in range(len(INBOXES)):
            subject = f"bare.deliver.{number}.{name}"
            await self.client.publish(subject, signed, reply=reply, headers=headers)
        await self.client.publish(f"bare.audit.{name}", record, reply=reply, headers=headers)
        await done
        del self._waiting[token]
        await self.client.publish(message.reply, b"+ACK")

    async def _acked(self, message: Msg) -> None:
        done, left = self._waiting[message.subject.rpartition(".")[2]]
        left[0] -= 1
        if b'"error"' in message.data:
            sys.exit("the server refused what the bare loop published")
        if not left[0]:
            done.set_result(None)


PEN = SignKey(bytes(range(32)))
"""Signs what the bare loop verifies."""


def signed(payload: bytes) -> bytes:
    """A submission to the bare loop: a signature and what it is over."""
    return PEN.sign(payload) + payload


async def connected(given: Credentials) -> Client:
    """A client of the library itself."""
    client = Client()
    await client.connect(
        list(given.urls),
        name=given.name,
        user_jwt_cb=lambda: bytearray(given.jwt.encode()),
        signature_cb=lambda nonce: base64.b64encode(given.key.sign(nonce.encode())),
        tls=ssl.create_default_context(cadata=given.ca_pem),
        inbox_prefix=given.inbox_prefix.encode(),
    )
    return client


def write_credentials(given: Credentials, path: Path) -> None:
    """Leave credentials of a server made for a benchmark to a process of it."""
    told = {
        "urls": given.urls,
        "ca_pem": given.ca_pem,
        "jwt": given.jwt,
        "seed": given.key.seed().hex(),
        "inbox_prefix": given.inbox_prefix,
        "name": given.name,
    }
    path.write_text(json.dumps(told))


def read_credentials(path: Path) -> Credentials:
    told = json.loads(path.read_text())
    key = SignKey(bytes.fromhex(told["seed"]))
    return Credentials(
        tuple(told["urls"]), told["ca_pem"], told["jwt"], key, told["inbox_prefix"], told["name"]
    )


async def main() -> None:
    """Serve until killed."""
    client = await connected(read_credentials(Path(sys.argv[1])))
    loop = BareLoop(client)
    await loop.begin()
    async with asyncio.TaskGroup() as group:
        for _ in range(LOOPS):
            group.create_task(loop.run())


if __name__ == "__main__":
    uvloop.run(main())
