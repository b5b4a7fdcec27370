"""What the hub holds at most of one member's files: what can never fit is told to the desk at once.

Else such an alert would go, and its files wait here until its time is over. The hub says the number
when it is asked; it is only a hint, and the hub's own refusal counts. It is kept, so that a node
without a link knows it too; a hub that does not say it, or was never asked, hinders no draft.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node.errors import NodeError
from broker.store.database import Database
from broker.store.tables import meta
from broker.transport.attaching import AttachmentServices
from broker.transport.link import Link
from schemas.attachment import chunks_of
from schemas.desk import AttachedFile

NEVER_FIT: Final = "attachments-never-fit"
EVERY_S: Final = 600.0  # an operator who gives more room need not telephone anybody
_ROOM: Final = "hub-attachment-bytes"  # in `meta`
_log = get_logger()


async def learn(database: Database, link: Link, member: str) -> None:
    """Ask the hub, and keep what it says; without an answer what was kept stays.

    Raises:
        StoreError: The database did not keep it.
    """
    try:
        room = await AttachmentServices(link, member).room()
    except BrokerError as error:
        _log.info("hub-room-not-told", error_code=error.code)
        return
    async with database.read() as connection:
        if await _known(connection) == room:
            return

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(meta).where(meta.c.name == _ROOM))
        await connection.execute(insert(meta).values(name=_ROOM, value=str(room)))

    await database.change(change)


async def check_fit(connection: AsyncConnection, files: Sequence[AttachedFile]) -> None:
    """Return if these files of one alert may fit at the hub some time, as far as is known.

    Raises:
        NodeError: `attachments-never-fit`, naming both sizes.
    """
    if not files:
        return
    room = await _known(connection)
    # As the hub counts: whole chunks, sealed.
    needed = sum(chunks_of(each.bytes) for each in files) * SEALED_CHUNK_BYTES
    if room is not None and needed > room:
        raise NodeError(
            NEVER_FIT,
            f"these files take {needed} bytes at the hub, which holds {room} of one member",
            kind="invalid",
            field="attachments",
        )


async def _known(connection: AsyncConnection) -> int | None:
    value = await connection.scalar(select(meta.c.value).where(meta.c.name == _ROOM))
    return None if value is None else int(value)
