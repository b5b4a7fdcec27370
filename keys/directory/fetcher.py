"""Gives TUF's synchronous updater the files of an asynchronous source, each bounded in size."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import IO, Protocol

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface
from typing_extensions import override

from keys.directory import layout
from keys.errors import DirectoryError

AHEAD = 4  # files at one time: they keep a thin line full, and leave room between them
_NOT_FOUND = 404  # how the updater wants to hear that there is no newer root


class Fetch(Protocol):
    """Reads one file of the directory from wherever it is published."""

    async def __call__(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return the file at `path`, or None if there is none.

        Args:
            path: Relative, for example `metadata/timestamp.json`.
            max_bytes: The source must stop reading beyond; more is refused anyway.

        Raises:
            Exception: Whatever says that the source is out of reach.
        """
        ...


class LoopFetcher(FetcherInterface):
    """Runs `fetch` on the event loop while the updater waits in its thread."""

    def __init__(self, fetch: Fetch, loop: asyncio.AbstractEventLoop, *, timeout_s: float) -> None:
        self._fetch_file = fetch
        self._loop = loop
        self._timeout_s = timeout_s
        self.stopped = False  # Set by the loop when the refresh is cancelled; read by the thread.
        self.cause: BaseException | None = None  # Why the source failed, for the caller.

    def get(self, path: str, *, max_bytes: int) -> bytes:
        """Return the file at `path`.

        Raises:
            DownloadError: Missing (`DownloadHTTPError`), out of reach, too long, or too slow.
        """
        try:
            layout.check_fetchable(path)
        except DirectoryError as error:
            raise DownloadError("not a file of the directory") from error
        if self.stopped:
            raise DownloadError("the refresh was cancelled")
        waiting = asyncio.run_coroutine_threadsafe(
            self._fetch_file(path, max_bytes=max_bytes), self._loop
        )
        try:
            raw = waiting.result(self._timeout_s)
        except (CancelledError, Exception) as error:  # the source's errors are not ours to list
            waiting.cancel()
            self.cause = error
            raise DownloadError(f"{path} cannot be fetched") from error
        if raw is None:
            raise DownloadHTTPError(f"{path} is missing", _NOT_FOUND)
        if len(raw) > max_bytes:
            raise DownloadError(f"{path} has more than {max_bytes} bytes")
        return raw

    def get_ahead(self, wanted: Mapping[str, int]) -> dict[str, bytes]:
        """Return those of these files that can be had, a few asked for at one time.

        One after the other, fifty small files take fifty answers' time; over a satellite that is
        minutes. What is missing here is asked for again by whoever needs it, and then says why.

        Args:
            wanted: Greatest size of each, by path.
        """

        async def fetch_all() -> dict[str, bytes]:
            room, found = asyncio.Semaphore(AHEAD), dict[str, bytes]()

            async def fetch(path: str, max_bytes: int) -> None:
                async with room:
                    if self.stopped:
                        return
                    raw = await self._fetch_file(path, max_bytes=max_bytes)
                if raw is not None and len(raw) <= max_bytes:
                    found[path] = raw

            fetching = (fetch(path, size) for path, size in wanted.items())
            await asyncio.gather(*fetching, return_exceptions=True)
            return found

        try:
            for path in wanted:
                layout.check_fetchable(path)
        except DirectoryError:
            return {}
        waiting = asyncio.run_coroutine_threadsafe(fetch_all(), self._loop)
        try:
            return waiting.result(self._timeout_s * len(wanted))
        except (CancelledError, TimeoutError):
            waiting.cancel()
            return {}

    @contextmanager
    @override
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        with tempfile.SpooledTemporaryFile(max_size=max_length) as file:
            file.write(self.get(url, max_bytes=max_length))
            file.seek(0)
            yield file

    @override
    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self.get(url, max_bytes=layout.MAX_TARGETS_BYTES)
