"""What anybody may ask of this node's witness. Source: C2SP tlog-witness.

The log is witnessed over NATS; this is the same witness for whoever else has a checkpoint of it.
Who asks is not known here: so nothing that a stranger could make out of public checkpoints raises
an alarm, fills a disk or is told to others, of leaves that we have or not yet. A second tree under
the log's signature is, whoever brings it: at once, if it has the size that we cosigned last; else
once our copy has its leaves and begins with another tree.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node.cosigner import Cosigner
from keys.primitives.hashing import sha256

_log = get_logger()
_BUSY: Final = HTTPStatus.SERVICE_UNAVAILABLE
_NOTHING: Final = (HTTPStatus.NOT_FOUND, b"nothing was cosigned of that log\n")


@dataclass(frozen=True)
class WitnessDoor:
    """The witness of one node, as strangers see it."""

    cosigner: Cosigner

    async def add_checkpoint(self, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Return status and body for a request to cosign.

        Args:
            body: As `broker.log.witness` has it, not trusted.
        """
        try:
            return await self.cosigner.answer(body, by_hub=False)
        except BrokerError as error:  # nothing was kept, and so nothing is signed
            _log.error("not-cosigned", error_code=error.code)
            return _BUSY, b"nothing can be kept now\n"

    async def checkpoint(self, origin_hash: str) -> tuple[HTTPStatus, bytes]:
        """Return status and body: the note cosigned last of the log whose origin has this SHA-256.

        Under it stand the signatures of the log and of this witness.

        Args:
            origin_hash: In hexadecimal, not trusted.

        Raises:
            StoreError: The database cannot be read.
        """
        log = self.cosigner.witnessed_log()
        if log is None or sha256(log.origin.encode()).hex() != origin_hash:
            return _NOTHING
        note = await self.cosigner.last(log)
        if note is None:
            return _BUSY, b"not sure yet what was cosigned last\n"
        return (HTTPStatus.OK, note) if note else _NOTHING
