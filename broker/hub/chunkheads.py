"""What the hub keeps of one envelope's chunks, beside them: for whom, how many, until when."""

from dataclasses import dataclass
from datetime import datetime

from broker.envelope.chunks import SEALED_CHUNK_BYTES
from keys.primitives.hashing import sha256
from schemas import canonical
from schemas.errors import SchemaError
from schemas.moments import milliseconds, moment

HEAD_VERSION = 2
_UNDIGESTED = 1  # as heads were written before a digest was in them
MAX_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Head:
    """What is known of one envelope's chunks.

    Attributes:
        recipients: To whom the standing decision let a copy through, and for whom there was room.
        counts: How many chunks each file has, as its sender promised.
        expires: When everything goes, fetched or not.
        done: Recipients that have all.
        promised: Whether `counts` is the sender's word, and not what lay there when the head was
            made anew.
        form: The version in which it is written.
    """

    recipients: tuple[str, ...]
    counts: tuple[int, ...]
    expires: datetime
    done: tuple[str, ...] = ()
    promised: bool = True
    form: int = HEAD_VERSION

    @property
    def waiting(self) -> tuple[str, ...]:
        """Recipients that have not all."""
        return tuple(each for each in self.recipients if each not in self.done)

    @property
    def over(self) -> bool:
        """Whether nobody needs the chunks any more."""
        return not self.waiting

    @property
    def reserved_bytes(self) -> int:
        """What its chunks may take from the sender's room."""
        return 0 if self.over else sum(self.counts) * SEALED_CHUNK_BYTES

    def to_bytes(self) -> bytes:
        """Return the canonical encoding, with a digest: any changed bit shows."""
        known: list[canonical.Value] = [
            list(self.recipients),
            list(self.counts),
            milliseconds(self.expires),
            list(self.done),
        ]
        if self.form == _UNDIGESTED:
            return canonical.encode([_UNDIGESTED, *known])
        known = [HEAD_VERSION, *known, self.promised]
        return canonical.encode([*known, sha256(canonical.encode(known))])


def parse_head(raw: bytes) -> Head:
    """Return the head that this hub wrote.

    Raises:
        SchemaError: It did not, or the disk changed it.
    """
    match canonical.decode(raw, max_bytes=MAX_HEAD_BYTES):
        case [int(form), list(recipients), list(counts), int(expires), list(done), *more]:
            head = Head(
                tuple(str(each) for each in recipients),
                tuple(count for count in counts if isinstance(count, int)),
                moment(expires),
                tuple(str(each) for each in done),
                promised=not more or more[0] is True,
                form=form,
            )
            if head.to_bytes() == raw:  # else a part of it was of another kind, or changed
                return head
        case _:
            pass
    raise SchemaError("bad-head", "not what is known of chunks")
