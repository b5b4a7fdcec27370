"""A passphrase that a key management service keeps wrapped: an external command unwraps it.

The protocol, whole: the command gets the wrapped bytes on its standard input, and writes the
passphrase to its standard output, at most 1024 bytes and a line end; it ends with 0. It is a list
of words, no shell reads them; its environment is `PATH` and the variables that the settings name.
What it writes to standard error is not read: it may hold anything. docs/key-store.md says more.
"""

import os
import selectors
import signal
import subprocess
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from keys.errors import KeyFileError
from keys.files import read_private
from keys.passphrase import MAX_PASSPHRASE_BYTES, check_passphrase
from schemas.label import Strict

MAX_WRAPPED_BYTES: Final = 64 * 1024  # a service wraps a few hundred
MAX_SETTINGS_BYTES: Final = 16 * 1024
PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_MAX_OUTPUT_BYTES: Final = MAX_PASSPHRASE_BYTES + 2  # with a line end of either kind
_Word = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]


class KMSSettings(Strict):
    """`kms.toml`, beside the key stores' folders; a private file, for it names what is run.

    Attributes:
        command: The program, by its full path, and its words.
        wrapped: File of the wrapped passphrase, by its full path.
        timeout_s: After which the command is killed.
        environment: Variables that it gets, such as the service's address.
    """

    format: Literal[1] = 1
    command: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=64)]
    wrapped: Annotated[str, Field(min_length=1, max_length=4096)]
    timeout_s: Annotated[int, Field(ge=1, le=600)] = 30
    environment: Annotated[dict[str, _Word], Field(max_length=64, default_factory=dict)]


def read_kms_settings(path: Path) -> KMSSettings:
    """Return the settings.

    Raises:
        KeyFileError: `bad-kms` with the field; or the file is missing, or open to others.
    """
    raw = read_private(path, max_bytes=MAX_SETTINGS_BYTES)
    try:
        found = KMSSettings.model_validate(tomllib.loads(raw.decode()), strict=False)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise KeyFileError("bad-kms", f"{path}: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise KeyFileError("bad-kms", f"{path}: {error}") from None
    for name, value in (("command", found.command[0]), ("wrapped", found.wrapped)):
        if not value.startswith("/"):
            raise KeyFileError("bad-kms", f"{path}: {name}: name it by its full path")
    return found


def unwrapped_passphrase(settings: KMSSettings) -> bytes:
    """Return the passphrase, out of the service.

    Raises:
        KeyFileError: `kms-failed`: the command does not run, takes too long, ends with another
            code than 0, or writes no passphrase. Or the wrapped file is missing or open to others.
    """
    wrapped = read_private(Path(settings.wrapped), max_bytes=MAX_WRAPPED_BYTES)
    said = _asked(settings, wrapped)
    passphrase = said.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in passphrase or b"\0" in passphrase:
        raise _failed(settings, "wrote something else than one line")
    try:
        check_passphrase(passphrase)
    except KeyFileError:
        raise _failed(settings, "wrote no passphrase, or too long a one") from None
    return passphrase


def _asked(settings: KMSSettings, wrapped: bytes) -> bytes:
    environment: Mapping[str, str] = {"PATH": PATH, **settings.environment}
    deadline = time.monotonic() + settings.timeout_s
    try:
        process = subprocess.Popen(  # noqa: S603 - a private file of this user names it
            settings.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(settings, f"does not start ({error.strerror})") from error
    try:
        said = _exchanged(process, settings, wrapped, deadline)
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        _kill(process)
        raise _failed(settings, f"took more than {settings.timeout_s} s") from None
    except BaseException:
        _kill(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
    if code:
        raise _failed(settings, f"ended with {code}")
    return said


def _exchanged(
    process: "subprocess.Popen[bytes]", settings: KMSSettings, wrapped: bytes, deadline: float
) -> bytes:
    """Write and read at once, so that neither side waits for the other for ever."""
    if process.stdin is None or process.stdout is None:
        raise _failed(settings, "has no pipes")
    said, left = bytearray(), memoryview(wrapped)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while process.stdout in {key.fileobj for key in selector.get_map().values()}:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise subprocess.TimeoutExpired(settings.command, settings.timeout_s)
            for key, _ in selector.select(left_s):
                if key.fileobj is process.stdout:
                    piece = os.read(process.stdout.fileno(), 4096)
                    said += piece
                    if not piece:
                        selector.unregister(process.stdout)
                    continue
                try:
                    left = left[os.write(process.stdin.fileno(), left) :] if left else left
                except BrokenPipeError:  # it read as much as it wanted
                    left = left[:0]
                if not left:
                    selector.unregister(process.stdin)
                    process.stdin.close()
            if len(said) > _MAX_OUTPUT_BYTES:
                raise _failed(settings, f"wrote more than {MAX_PASSPHRASE_BYTES} bytes")
    return bytes(said)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what runs, with all that it started in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failed(settings: KMSSettings, how: str) -> KeyFileError:
    return KeyFileError(
        "kms-failed", f"{settings.command[0]} {how}: see docs/key-store.md, and run it by hand"
    )
