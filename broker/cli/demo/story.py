"""What the demonstration does, and how it tells it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from broker import clock
from broker.cli import screen
from broker.cli.demo import alerts
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import NAMES, NODES, DemoRegion
from broker.client import Client, Submission
from broker.errors import BrokerError
from schemas.desk import AlertBody, DraftRequest, InboxItem, OriginalDocument
from schemas.vocabulary import TLP, Handling, Precedence, Purpose, Status

STEP_S: Final = 40.0  # far beyond what a step takes; then the demonstration has failed
MANY: Final = 12


@dataclass(frozen=True)
class Given:
    """A cyber alert from a file, with the document it was made from."""

    alert: AlertBody
    original: OriginalDocument | None


class Story:
    """Tells and checks one step after the other."""

    def __init__(
        self, region: DemoRegion, processes: Processes, clients: dict[str, Client]
    ) -> None:
        """Take what runs."""
        self._region = region
        self._processes = processes
        self._clients = clients

    async def tell(self, given: Given | None) -> None:
        """Tell the whole story.

        Raises:
            BrokerError: `demo-failed`, or what a step could not do.
        """
        try:
            await self._first_alert(given)
            await self._drugs()
            await self._refused()
            await self._bad_day()
            self._hub_saw_nothing(given)
        except TimeoutError:
            raise BrokerError("demo-failed", "a step took too long; see the logs") from None

    async def _first_alert(self, given: Given | None) -> None:
        _title("1. A scam site, told to two neighbours")
        today = clock.now().date()
        alert = given.alert if given else alerts.cyber(today)
        screen.line(
            "Officer SG-7Q4 in Singapore knows of a scam. Malaysia and Viet Nam should know"
            " tonight. The alert is signed with the officer's own key, sealed at Singapore's"
            " node to the other two nodes, and handed to the hub."
        )
        original = given.original if given else None
        submission = await self._send(alert, ("MY", "VN"), original=original)
        await self._settled(submission)
        _outcomes(submission)
        for code in ("MY", "VN"):
            item = await self._arrived(code, submission)
            title = str((item.alert or {}).get("title", item.type))
            screen.line(
                f"  {NAMES[code]} reads: {title!r}, TLP {item.tlp.upper()},"
                f" signed by {item.officer.pseudonym}, let through by"
                f" {item.decision.gateway} under: {item.decision.rule}"
            )

    async def _drugs(self) -> None:
        _title("2. A container, told to one")
        screen.line("412,000 tablets in a container bound for Malaysia. Only Malaysia is told.")
        submission = await self._send(
            alerts.drugs(clock.now().date()), ("MY",), purposes=(Purpose.BORDER_CONTROL,)
        )
        await self._settled(submission)
        _outcomes(submission)
        await self._arrived("MY", submission)
        page = await self._clients["VN"].inbox("drugs")
        _check(not page.items, "Viet Nam received an alert that was not for it")
        screen.line("  Viet Nam's inbox has nothing of it.")

    async def _refused(self) -> None:
        _title("3. What policy refuses")
        screen.line(
            "The scam alert names a wallet, which is personal data. Thailand takes such data"
            " for a case, not for a warning: so says its own signed policy."
        )
        submission = await self._send(alerts.cyber(clock.now().date(), 2), ("TH",))
        await self._settled(submission)
        _outcomes(submission)
        outcome = submission.recipients[0]
        _check(
            outcome.rule == "TH import: forbid cyber-with-personal-data-needs-a-case",
            "the refusal does not name its rule",
        )
        screen.line("  It never left Singapore; the officer saw this before sending.")

    async def _bad_day(self) -> None:
        _title("4. A bad day")
        before = {code: (await self._count(code)) for code in ("MY", "VN")}
        sent: list[Submission] = []
        for number in range(MANY):
            alert = alerts.cyber(clock.now().date(), 100 + number)
            sent.append(await self._send(alert, ("MY", "VN"), status=Status.EXERCISE))
            if number == MANY // 3:
                pid = self._processes.kill_gateway()
                screen.line(f"  kill -9 {pid}   the gateway, in the middle of it")
            if number == MANY // 2:
                pid = await self._processes.kill("MY")
                screen.line(f"  kill -9 {pid}   Malaysia's node, too")
        screen.line(f"  {MANY} exercise alerts are queued or on their way. Malaysia restarts.")
        await self._processes.start_node("MY")
        for submission in sent:
            await self._settled(submission)
        for code in ("MY", "VN"):
            items = await self._all(code)
            wanted = {submission.alert_id for submission in sent}
            got = [item.alert_id for item in items if item.alert_id in wanted]
            _check(len(got) == len(set(got)) == MANY, f"{code} lost or doubled an alert")
            _check(len(items) == before[code] + MANY, f"{code} has something more")
        screen.line(
            f"  All {MANY} arrived in Malaysia and in Viet Nam, each once, marked EXERCISE;"
            " every one has its signed receipt."
        )

    def _hub_saw_nothing(self, given: Given | None) -> None:
        _title("5. What the hub saw")
        if given is None:
            size, found = _search(self._region.hub, alerts.PHRASE.encode())
            _check(not found, "the hub's disk holds content")
            screen.line(
                f"  Searched {size // 1024:,} KiB of the hub's disk for the words of the alerts:"
                " not there. It holds labels, sealed bytes and signed decisions."
            )
        else:
            screen.line("  Labels, sealed bytes and signed decisions; never what the alert says.")

    async def _send(
        self,
        alert: AlertBody,
        to: tuple[str, ...],
        *,
        status: Status = Status.ACTUAL,
        purposes: tuple[Purpose, ...] = (Purpose.WARN,),
        original: OriginalDocument | None = None,
    ) -> Submission:
        request = DraftRequest(
            status=status,
            alert=alert,
            recipients=to,
            agency="SPF",
            tlp=TLP.AMBER,
            purposes=purposes,
            precedence=Precedence.PRIORITY,
            handling=(Handling.H1,),
            original=original,
        )
        async with asyncio.timeout(STEP_S):
            return await self._clients["SG"].send(request)

    async def _settled(self, submission: Submission) -> None:
        """Wait until each recipient's node has kept it, or policy refused it."""
        async with asyncio.timeout(STEP_S):
            while not all(each.state.final for each in submission.recipients):
                await asyncio.sleep(0.1)
                await submission.refresh()

    async def _arrived(self, code: str, submission: Submission) -> InboxItem:
        async with asyncio.timeout(STEP_S):
            return await self._clients[code].show(_envelope(submission))

    async def _count(self, code: str) -> int:
        return len(await self._all(code))

    async def _all(self, code: str) -> tuple[InboxItem, ...]:
        page = await self._clients[code].inbox(limit=500)
        return page.items


@asynccontextmanager
async def desks(region: DemoRegion) -> AsyncIterator[dict[str, Client]]:
    """Give each member's desk."""
    async with AsyncExitStack() as stack:
        clients = {
            code: await stack.enter_async_context(
                Client(
                    url=region.url(code),
                    token=region.tokens[code],
                    officer_key=region.officer(code),
                    patience_s=STEP_S,
                )
            )
            for code in NODES
        }
        for client in clients.values():
            await _until_fresh(client)
        yield clients


async def _until_fresh(client: Client) -> None:
    """Wait until a node has the directory, which it needs once from the hub."""
    try:
        async with asyncio.timeout(STEP_S):
            while (await client.node_status()).directory is None:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BrokerError("demo-failed", "a node did not get the directory") from None


def _envelope(submission: Submission) -> UUID:
    found = submission.shown.id
    if found is None:
        raise BrokerError("demo-failed", "nothing was sealed")
    return found


def _outcomes(submission: Submission) -> None:
    for outcome in submission.recipients:
        reason = f"  {outcome.rule}" if outcome.code else ""
        screen.line(f"  {NAMES[outcome.recipient]:<10} {outcome.state.upper()}{reason}")


def _title(text: str) -> None:
    screen.line()
    screen.line(text, bold=True)


def _check(holds: bool, failure: str) -> None:
    if not holds:
        raise BrokerError("demo-failed", failure)


def _search(folder: Path, words: bytes) -> tuple[int, bool]:
    """Return how many bytes lie under `folder`, and whether `words` are among them."""
    size, found = 0, False
    for path in folder.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            size += len(raw)
            found = found or words in raw
    return size, found
