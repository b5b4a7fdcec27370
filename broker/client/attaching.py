"""Files between a desk and its node: a chunk at a time, and on from where a break left off."""

import asyncio
import hashlib
import mimetypes
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self, TypeAlias
from uuid import UUID

import httpx
from pydantic import ValidationError

from broker.client.compose import Fields
from broker.client.connection import Connection, Lost
from broker.client.errors import BadAnswer, LocalError, ProblemError, Unreachable
from broker.client.retrying import Backoff
from keys.files import give_name
from schemas.attachment import CHUNK_BYTES, MAX_ATTACHMENT_BYTES, MEDIA_TYPE
from schemas.desk import AttachedFile, AttachmentRequest, AttachmentShown, AttachmentUpload

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes done and the bytes of the whole."""
_ANY: Final = "application/octet-stream"
_PARTIAL: Final = 206


async def described(
    path: Path, *, name: str | None = None, media_type: str | None = None
) -> AttachedFile:
    """Return what a draft says of the file at `path`; enough for a preview, nothing is sent.

    Raises:
        LocalError: `bad-file`, or `attachment-too-large` naming both sizes.
        ValueError: A name or media type that cannot travel.
    """
    return await asyncio.to_thread(_described, path, name, media_type)


async def with_files(fields: Fields, named: Callable[[Path], Awaitable[AttachedFile]]) -> Fields:
    """Return the fields with each path among the attachments as the file that it names.

    Args:
        fields: Of a request.
        named: Turns a path into that file: described for a preview, or handed over.
    """
    files = [
        each if isinstance(each, AttachedFile) else await named(Path(each))
        for each in fields.get("attachments", ())
    ]
    return {**fields, "attachments": files} if files else fields


async def hand_over(
    connection: Connection, path: Path, wanted: AttachedFile, progress: Progress | None
) -> AttachedFile:
    """Hand the file at `path` to the node, from where an earlier attempt stopped.

    Raises:
        LocalError: `bad-file`.
        BrokerError: A refusal, `Unreachable` or `Unavailable`; the same again goes on.
    """
    request = AttachmentRequest.model_validate(wanted.model_dump(exclude={"attachment_id"}))
    try:
        upload = await connection.ask("POST", "/v1/attachments", AttachmentUpload, body=request)
        with _opened(path) as handle:
            while not upload.complete:
                # The last one again lets the node compare the whole, if it was killed before.
                index = min(upload.next, upload.chunks - 1)
                place = f"/v1/attachments/{upload.attachment_id}/chunks/{index}"
                chunk = await asyncio.to_thread(_chunk, handle, index)
                answer = await connection.ask_raw("PUT", place, content=chunk)
                upload = AttachmentUpload.model_validate_json(answer.content)
                if progress is not None:
                    progress(min(upload.next * CHUNK_BYTES, wanted.bytes), wanted.bytes)
    except Lost:
        raise Unreachable("the node does not answer; attach the same again to go on") from None
    except ValidationError:
        raise BadAnswer from None
    return wanted.model_copy(update={"attachment_id": upload.attachment_id})


async def withdraw(connection: Connection, attachment_id: UUID) -> None:
    """Let the node delete a file that went with no alert.

    Raises:
        BrokerError: A refusal, `Unreachable` or `Unavailable`.
    """
    try:
        await connection.ask_raw("DELETE", f"/v1/attachments/{attachment_id}")
    except Lost:
        raise Unreachable("the node does not answer; it may still have the file") from None


async def save(
    connection: Connection,
    item_id: UUID,
    shown: AttachmentShown,
    path: Path,
    *,
    patience_s: float,
    progress: Progress | None,
) -> None:
    """Write an attached file to `path`, from where an earlier attempt stopped, and compare it.

    What is not whole yet stands beside it, as `<path>.part`.

    Raises:
        LocalError: `exists`, `cannot-write`, or `attachment-mismatch`: begin again.
        BrokerError: A refusal, `Unreachable`, or `Unavailable` while it arrives.
    """
    if await asyncio.to_thread(path.exists):
        raise LocalError("exists", f"{path} is there already; choose another name")
    part = path.with_name(f"{path.name}.part")
    waits, loop = Backoff().waits(), asyncio.get_running_loop()
    here, deadline = -1, loop.time() + patience_s
    while (start := _size(part)) < shown.bytes:
        if start > here:  # it moves
            here, deadline, waits = start, loop.time() + patience_s, Backoff().waits()
        try:
            await _fetch(connection, item_id, shown, part, start, progress)
        except (Lost, httpx.HTTPError):
            if (wait_s := next(waits)) + loop.time() > deadline:
                raise Unreachable("the node does not answer; ask again to go on") from None
        except ProblemError as problem:
            wait_s = max(next(waits), problem.retry_after_s or 0.0)
            if problem.retry != "later" or wait_s + loop.time() > deadline:
                raise
        else:
            continue
        await asyncio.sleep(wait_s)
    await asyncio.to_thread(_take, part, path, shown.sha256)


async def _fetch(  # noqa: PLR0917 - all that a download is
    connection: Connection,
    item_id: UUID,
    shown: AttachmentShown,
    part: Path,
    start: int,
    progress: Progress | None,
) -> None:
    place = f"/v1/inbox/{item_id}/attachments/{shown.number}"
    response = await connection.open_stream(place, {}, {"range": f"bytes={start}-"})
    try:
        expected = f"bytes {start}-{shown.bytes - 1}/{shown.bytes}"
        if response.status_code != _PARTIAL or response.headers.get("content-range") != expected:
            raise BadAnswer
        with _appended(part) as handle:
            async for piece in response.aiter_bytes():
                start += len(piece)
                if start > shown.bytes:
                    raise BadAnswer
                await asyncio.to_thread(_write, handle, piece)
                if progress is not None:
                    progress(start, shown.bytes)
    finally:
        await response.aclose()


def _described(path: Path, name: str | None, media_type: str | None) -> AttachedFile:
    whole = hashlib.sha256()
    size = 0
    with _opened(path) as handle:
        announced = os.fstat(handle.fileno).st_size
        if announced > MAX_ATTACHMENT_BYTES:
            raise LocalError(
                "attachment-too-large",
                f"{path} has {announced} bytes, at most {MAX_ATTACHMENT_BYTES} can be attached",
            )
        while chunk := _chunk(handle, size // CHUNK_BYTES):
            whole.update(chunk)
            size += len(chunk)
            if len(chunk) < CHUNK_BYTES:
                break
    if size == 0:
        raise LocalError("bad-file", f"{path} is empty")
    guessed = mimetypes.guess_type(path.name)[0] or _ANY
    return AttachedFile(
        name=name or path.name,
        media_type=media_type or (guessed if re.fullmatch(MEDIA_TYPE, guessed) else _ANY),
        bytes=size,
        sha256=whole.digest(),
    )


class _File:
    """An open file whose errors are ours. Read and written a chunk at a time."""

    def __init__(self, path: Path, flags: int, code: str) -> None:
        self._path, self._code = path, code
        try:
            self.fileno = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self.failed() from error

    def failed(self) -> LocalError:
        verb = "read" if self._code == "bad-file" else "written"
        return LocalError(self._code, f"{self._path} cannot be {verb}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fileno)


def _opened(path: Path) -> _File:
    return _File(path, os.O_RDONLY, "bad-file")


def _appended(path: Path) -> _File:
    return _File(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, "cannot-write")


def _chunk(handle: _File, index: int) -> bytes:
    try:
        return os.pread(handle.fileno, CHUNK_BYTES, index * CHUNK_BYTES)
    except OSError as error:
        raise handle.failed() from error


def _write(handle: _File, piece: bytes) -> None:
    view = memoryview(piece)
    try:
        while view:
            view = view[os.write(handle.fileno, view) :]
    except OSError as error:
        raise handle.failed() from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _take(part: Path, path: Path, sha256: bytes) -> None:
    whole = hashlib.sha256()
    with _opened(part) as handle:
        index = 0
        while chunk := _chunk(handle, index):
            whole.update(chunk)
            index += 1
        if whole.digest() != sha256:
            part.unlink()
            raise LocalError("attachment-mismatch", f"{part} was not the file; ask for it again")
        os.fsync(handle.fileno)
    try:
        give_name(part, path)  # unlike a rename, it never takes the place of another file
    except FileExistsError:
        raise LocalError("exists", f"{path} is there already; choose another name") from None
    except OSError as error:
        raise LocalError("cannot-write", f"{path} cannot be written") from error
