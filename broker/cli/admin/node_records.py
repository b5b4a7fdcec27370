"""`kentong node erase`, `settle` and `rewrap`: what a node keeps of alerts and alarms."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from broker.cli import screen
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON, PassphraseFile, passphrase
from broker.cli.text import say
from broker.errors import BrokerError
from broker.node import alarms
from broker.node.erasure import destroy
from broker.node.rewrapping import rewrap as rewrap_all
from broker.node.vault import Vault
from broker.settings import home
from keys.home import Home
from keys.identity import STORE_NAME, next_storage_key, take_up_storage_key
from keys.keystore import KeyStore


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


def rewrap(passphrase_file: PassphraseFile = None) -> None:
    """Give this node another storage key; what it keeps is wrapped anew, the old key destroyed.

    While the node is stopped. What was destroyed before opens from no old backup of the database
    any more, unless that holds the old key store too. If it is interrupted, run it again.

    Example: kentong node rewrap
    """
    place = NodePlace(home())
    store = KeyStore.open(Home(home()).node_keys / STORE_NAME, passphrase(passphrase_file))

    async def work() -> int:
        await _check_stopped(place)
        old, new = next_storage_key(store)
        async with place.database() as database:
            count = await database.change(lambda c: rewrap_all(c, Vault(old), Vault(new)))
            await database.empty_journal()
        take_up_storage_key(store)
        return count

    count = asyncio.run(work())
    screen.line(say("rewrapped", "{count} rows are under another storage key.", count=count))


async def _check_stopped(place: NodePlace) -> None:
    """Return if nobody answers on the node's socket.

    Raises:
        BrokerError: `node-runs`.
    """
    try:
        _, writer = await asyncio.open_unix_connection(place.socket)
    except OSError:
        return
    writer.close()
    raise BrokerError("node-runs", "stop the node first: it would go on with the old key")


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
