"""Request bodies: length before parse, and strict from the very bytes.

FastAPI would turn JSON into Python values first and validate those; a strict model needs to know
that it reads JSON, where a list is all there is for a tuple and text all there is for a time.
"""

import asyncio
import re
from typing import Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from broker.api.problems import RequestError, invalid

_Model = TypeVar("_Model", bound=BaseModel)
_DIGITS: Final = re.compile(r"[0-9]{1,19}")  # longer, and int() itself would object
READ_TIMEOUT_S: Final = 60.0  # 8 MiB at 1 Mbit/s; a sender that trickles is not waited for


async def read_body(request: Request, model: type[_Model], *, max_bytes: int) -> _Model:
    """Return the body as `model`.

    Raises:
        RequestError: Not JSON, too long, too slow, or not of the model's form. What it says never
            repeats what was sent.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError(415, "not-json", "Send the body as application/json.")
    raw = await read_bytes(request, max_bytes=max_bytes)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error, model) from None


async def read_bytes(
    request: Request, *, max_bytes: int, within_s: float = READ_TIMEOUT_S
) -> bytes:
    """Return the body as it is.

    Args:
        request: Nothing of its body is read yet.
        max_bytes: More is refused, and not read.
        within_s: All of it must be here after so many seconds.

    Raises:
        RequestError: Too long, or too slow.
    """
    too_large = RequestError(413, "body-too-large", f"At most {max_bytes} bytes are read here.")
    announced = request.headers.get("content-length", "")
    if _DIGITS.fullmatch(announced) and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise RequestError(
            408, "body-too-slow", "The body did not arrive in time.", retry="later"
        ) from None
    return bytes(body)
