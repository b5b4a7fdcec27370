"""The signer's socket: two calls, bounded, and nothing that breaks it."""

import asyncio
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.ledger.errors import LedgerError
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import MAX_REQUEST_BYTES, SignerClient, serving
from schemas import canonical
from tests.ledger.test_signer import ORIGIN, checkpoint_of, hashes, sign

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest_asyncio.fixture
async def client(folder: Path) -> AsyncIterator[SignerClient]:
    signer = Signer.create(folder / "signer.json", ORIGIN, sign)
    path = folder / "signer.sock"
    async with serving(signer, path):
        yield SignerClient(path)


async def test_it_signs_over_the_socket(client: SignerClient) -> None:
    assert (await client.state())[0] == 0
    note = await client.append(0, hashes(300))
    assert checkpoint_of(note).size == 300
    assert await client.state() == (300, note)
    assert await client.append(0, hashes(300)) == note
    assert stat.S_IMODE(client.path.stat().st_mode) == 0o600


async def test_refusals_come_back_with_their_code(client: SignerClient) -> None:
    await client.append(0, hashes(2))
    with pytest.raises(LedgerError) as caught:
        await client.append(0, hashes(3))
    assert caught.value.code == "fork"
    with pytest.raises(LedgerError) as caught:
        await client.append(9, hashes(3))
    assert caught.value.code == "wrong-size"


@pytest.mark.parametrize(
    "request_bytes",
    [
        canonical.encode(["sign", b"anything"]),
        canonical.encode(["append", 0, b"short"]),
        canonical.encode(["append", "0", bytes(32)]),
        b"\xc1",
        b"",
    ],
)
async def test_another_call_is_refused_and_the_next_is_served(
    client: SignerClient, request_bytes: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(client.path)
    writer.write(struct.pack(">I", len(request_bytes)) + request_bytes)
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    answer = canonical.decode(await reader.readexactly(length), max_bytes=4096)
    assert isinstance(answer, list)
    assert answer[:2] == ["error", "bad-request"]
    writer.close()
    assert (await client.state())[0] == 0


async def test_a_boundless_request_is_cut_off(client: SignerClient) -> None:
    reader, writer = await asyncio.open_unix_connection(client.path)
    writer.write(struct.pack(">I", MAX_REQUEST_BYTES + 1))
    assert await reader.read() == b""
    writer.close()
    assert (await client.state())[0] == 0


async def test_a_signer_that_is_down_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught:
        await SignerClient(tmp_path / "nobody.sock").state()
    assert (caught.value.code, caught.value.retry) == ("signer-down", "later")


async def test_a_long_path_is_told(folder: Path) -> None:
    signer = Signer.create(folder / "signer.json", ORIGIN, sign)
    with pytest.raises(LedgerError) as caught:
        async with serving(signer, folder / ("s" * 120)):
            pass
    assert caught.value.code == "socket-path"
