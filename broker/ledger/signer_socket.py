"""The signer's only door: a Unix socket in a folder that nobody else may enter.

request  u32 length || canonical MessagePack: ["append", old size, leaf hashes, concatenated]
or ["state"]
answer   u32 length || ["ok", size, note] or ["error", code, sentence]
"""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.ledger.errors import LedgerError
from broker.ledger.signer import MAX_LEAVES, Signer, in_thread
from broker.log.errors import LogError
from broker.logs import get_logger
from keys.files import check_private_folder
from schemas import canonical
from schemas.errors import SchemaError

CALL_TIMEOUT_S: Final = 30.0
MAX_REQUEST_BYTES: Final = MAX_LEAVES * 32 + 64
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_PATH_BYTES: Final = 100  # of a socket; the system's limit is a little above
_ENDING: Final = frozenset({"signer-disk", "clock-back"})
_HASH_BYTES: Final = 32
_LENGTH: Final = struct.Struct(">I")
_log = get_logger()


@asynccontextmanager
async def serving(signer: Signer, path: Path) -> AsyncIterator["asyncio.Future[LedgerError]"]:
    """Answer on the socket at `path` while the block runs; one call at a time.

    Gives a future: its result is why the process must end.

    Raises:
        LedgerError: `socket-path`: it is too long for a socket.
        KeyFileError: Others may enter its folder.
    """
    check_private_folder(path.parent)
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise LedgerError("socket-path", f"{path} is too long for a socket")
    turn = asyncio.Lock()
    ended: asyncio.Future[LedgerError] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read(reader, MAX_REQUEST_BYTES)
                async with turn:
                    answer, failed = await _answer(signer, request)
                    writer.write(_framed(answer))
                await writer.drain()
                if failed is not None and failed.code in _ENDING and not ended.done():
                    ended.set_result(failed)
        except (asyncio.IncompleteReadError, ConnectionError, LedgerError):
            return
        finally:
            writer.close()

    _clear(path)
    server = await asyncio.start_unix_server(talk, path)
    _restrict(path)
    async with server:
        yield ended


def _clear(path: Path) -> None:
    """Take away the socket of a signer that was killed."""
    with suppress(FileNotFoundError):
        path.unlink()


def _restrict(path: Path) -> None:
    path.chmod(0o600)


async def _answer(signer: Signer, request: bytes) -> tuple[bytes, LedgerError | None]:
    try:
        match canonical.decode(request, max_bytes=MAX_REQUEST_BYTES):
            case ["state"]:
                note = signer.checkpoint
            case ["append", int(old_size), bytes(joined)] if len(joined) % _HASH_BYTES == 0:
                hashes = [joined[i : i + _HASH_BYTES] for i in range(0, len(joined), _HASH_BYTES)]
                note = await in_thread(signer, old_size, hashes)
            case _:
                return canonical.encode(["error", "bad-request", "no such call"]), None
    except (LedgerError, LogError) as error:
        _log.error("not-signed", error_code=error.code)
        failed = error if isinstance(error, LedgerError) else None
        return canonical.encode(["error", error.code, str(error)]), failed
    except SchemaError as error:
        return canonical.encode(["error", "bad-request", str(error)]), None
    return canonical.encode(["ok", signer.size, note]), None


@dataclass(frozen=True)
class SignerClient:
    """The sequencer's side of the socket; a new connection for each call."""

    path: Path

    async def append(self, old_size: int, leaf_hashes: Sequence[bytes]) -> bytes:
        """Return the signed checkpoint of the grown tree, as `Signer.append`.

        Raises:
            LedgerError: What the signer says, or `signer-down`: whether it signed is not known.
        """
        return (await self._call(["append", old_size, b"".join(leaf_hashes)]))[1]

    async def state(self) -> tuple[int, bytes]:
        """Return size and note signed last.

        Raises:
            LedgerError: `signer-down`.
        """
        return await self._call(["state"])

    async def _call(self, request: list[canonical.Value]) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self.path)
                try:
                    writer.write(_framed(canonical.encode(request)))
                    await writer.drain()
                    raw = await _read(reader, MAX_ANSWER_BYTES)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise LedgerError("signer-down", "the signer does not answer", retry="later") from error
        try:
            match canonical.decode(raw, max_bytes=MAX_ANSWER_BYTES):
                case ["ok", int(size), bytes(note)]:
                    return size, note
                case ["error", str(code), str(text)]:
                    raise LedgerError(code, text)
                case _:
                    raise LedgerError("bad-answer", "the signer says something else")
        except SchemaError as error:
            raise LedgerError("bad-answer", "the signer says something else") from error


async def _read(reader: asyncio.StreamReader, limit: int) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise LedgerError("too-large", "a message beyond the limit")
    return await reader.readexactly(length)


def _framed(raw: bytes) -> bytes:
    return _LENGTH.pack(len(raw)) + raw
