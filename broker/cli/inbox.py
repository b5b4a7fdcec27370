"""`kentong inbox`."""

from typing import Annotated

import typer

from broker.cli import reading, screen
from broker.cli.desk import AsJSON, ask, client
from broker.cli.text import say
from schemas.desk import InboxPage


def command(
    alert_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type; repeat.")
    ] = None,
    since: Annotated[int, typer.Option(min=0, help="After this position.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    as_json: AsJSON = False,
) -> None:
    """List the alerts that arrived, oldest first.

    Example: kentong inbox --type drugs --since 120
    """

    async def work() -> InboxPage:
        async with client() as desk:
            return await desk.inbox(*(alert_type or ()), since=since, limit=limit)

    page = ask(work())
    if as_json:
        items = [item.model_dump(mode="json") for item in page.items]
        screen.as_json("inbox", items=items, last=page.last, more=page.more)
        return
    if not page.items:
        screen.line(say("inbox-empty", "Nothing new."))
        return
    screen.table(reading.HEAD, [reading.row(item) for item in page.items])
    if page.more:
        screen.line(say("inbox-more", "Next: kentong inbox --since {last}", last=page.last))
