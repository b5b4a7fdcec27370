"""`kentong inbox`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from broker.cli import reading, screen
from broker.cli.desk import AsJSON, ask, client
from broker.cli.text import say
from broker.client import Client
from schemas.desk import MAX_PAGE, InboxItem, InboxPage


def command(
    alert_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type; repeat.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(min=0, help="After this position; without it the newest.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    as_json: AsJSON = False,
) -> None:
    """List the newest alerts that arrived, the newest last; or those after a position.

    Examples:
      kentong inbox
      kentong inbox --type drugs --since 120
    """
    types = alert_type or ()

    async def work() -> InboxPage:
        async with client() as desk:
            if since is None:
                return await newest(desk, types, limit=limit)
            return await desk.inbox(*types, since=since, limit=limit)

    page = ask(work())
    if as_json:
        items = [item.model_dump(mode="json") for item in page.items]
        screen.as_json("inbox", items=items, last=page.last, more=page.more)
        return
    if not page.items:
        screen.line(say("inbox-empty", "Nothing new."))
        return
    screen.table(reading.head(), [reading.row(item) for item in page.items])
    if page.more:
        screen.line(say("inbox-more", "Next: kentong inbox --since {last}", last=page.last))
    elif since is None and page.items[0].position > 1:
        screen.line(say("inbox-older", "From the oldest on: kentong inbox --since 0"))


async def newest(desk: Client, types: Sequence[str], *, limit: int) -> InboxPage:
    """Return the newest alerts of `types`, in order of position.

    The node pages forward from a position, so this asks for the last positions first and goes
    further back only while too few of the wanted types lie there.
    """
    last = until = (await desk.node_status()).last_position
    found: list[InboxItem] = []
    window = limit
    while until > 0 and len(found) < limit:
        since = max(0, until - window)
        page = await desk.inbox(*types, since=since, limit=window)
        found = [item for item in page.items if item.position <= until] + found
        until, window = since, MAX_PAGE
    return InboxPage(items=tuple(found[-limit:]), last=last, more=False)
