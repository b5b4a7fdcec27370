"""Fetches the source document of an alert, byte for byte as its sender had it."""

import re
from typing import Final
from urllib.parse import unquote
from uuid import UUID

from pydantic import ValidationError

from broker.client.connection import Connection, Lost
from broker.client.errors import BadAnswer, Unreachable
from schemas.desk import OriginalDocument

_FILE_NAME: Final = re.compile(r"filename\*=UTF-8''([^;]{1,1024})$")


async def original_of(connection: Connection, item_id: UUID) -> OriginalDocument:
    """Return the source document of one alert.

    Raises:
        BrokerError: `NotFound` if it was not carried; else a refusal or `Unreachable`.
    """
    try:
        answer = await connection.ask_raw("GET", f"/v1/inbox/{item_id}/original")
        named = _FILE_NAME.search(answer.headers.get("content-disposition", ""))
        return OriginalDocument(
            content=answer.content,
            media_type=answer.headers.get("content-type", ""),
            name=unquote(named[1]) if named else None,
        )
    except Lost:
        raise Unreachable("the node does not answer") from None
    except ValidationError:
        raise BadAnswer from None
