"""`kentong node erase` and `settle`: takes away what a node kept of an alert, or of an alarm."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from broker.cli import screen
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.node import alarms
from broker.node.erasure import destroy
from broker.settings import home


def erase(
    ident: Annotated[UUID, typer.Argument(help="The envelope's id, as kentong show names it.")],
    as_json: AsJSON = False,
) -> None:
    """Destroy what this node keeps of an alert: envelope, content, opening and salts; for ever.

    Ids, numbers and outcomes stay, so that nothing is taken twice. The hub's own part is erased
    there: kentong log erase. Old backups of this node keep only what its storage key of that time
    opens. Ends with 1 if nothing of it is here.

    Example: kentong node erase 0192f0c1-...
    """

    async def work() -> int:
        async with NodePlace(home()).database() as database:
            return await destroy(database, ident)

    count = asyncio.run(work())
    if as_json:
        screen.as_json("node-erase", ok=bool(count), id=str(ident), rows=count)
    elif count:
        screen.line(say("node-erased", "{ident} is destroyed at this node.", ident=ident))
    if not count:
        raise BrokerError("not-found", "this node keeps nothing of it")


def settle(
    code: Annotated[str, typer.Argument(help="The alarm's code, for example log-stalled.")],
) -> None:
    """Take down an alarm that somebody has looked into; what is kept as evidence stays.

    It comes up again if it happens again. Ends with 1 if there is no such alarm.

    Example: kentong node settle log-stalled
    """

    async def work() -> int:
        async with NodePlace(home()).database() as database:
            return await database.change(lambda connection: alarms.settle(connection, code))

    if not asyncio.run(work()):
        raise BrokerError("not-found", "there is no such alarm here")
    screen.line(say("alarm-settled", "{alarm} is settled.", alarm=code))
