"""A bundle in a tar from anybody: no head makes the reader go round, or take all memory."""

import tarfile
from pathlib import Path

import pytest

from broker.audit.bundle import opened
from broker.errors import BrokerError


def head(size: int, kind: bytes = b"0", content: bytes = b"") -> bytes:
    """A tar's head with any size, sealed by its checksum, and what stands behind it."""
    raw = bytearray(512)
    raw[0:1] = b"x"
    raw[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    raw[156:157] = kind
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + content.ljust(-(-len(content) // 512) * 512, b"\0")


HOSTILE = {
    "a file that leads back to itself": head(0) + head(-512),
    "a file that leads back to the one before": head(0) + head(-1024),
    "an extended head below zero": head(0) + head(-512, b"x"),
    "a long name below zero": head(0) + head(-512, b"L"),
    "a long name of a terabyte": head(2**40, b"L"),
    "an extended head of a terabyte": head(2**40, b"x"),
    "a sparse map without numbers": head(20, b"x", b"20 GNU.sparse.map=,\n") + head(0),
    "ten thousand extended heads": head(13, b"x", b"13 comment=x\n") * 10_000 + head(0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log.tar"
    path.write_bytes(HOSTILE[name] + bytes(1024))
    with pytest.raises(BrokerError) as caught, opened(path) as bundle:
        bundle.names("")
    assert caught.value.code == "bad-bundle"
