"""What the demonstration does, and how it tells it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from broker import clock
from broker.audit.findings import Exit
from broker.cli import reading, screen
from broker.cli.demo import alerts
from broker.cli.demo.hubview import label_line, phrases_of, search, waiting_labels
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import NAMES, NODES, DemoRegion
from broker.client import Client, Submission
from broker.errors import BrokerError
from broker.ledger.place import LedgerPlace
from broker.log.checkpoint import parse_checkpoint
from broker.log.note import parse_note
from broker.log.policyfile import write_policy
from broker.log.regional import regional_policy
from broker.log.tiles import bundles_of, encode_bundle
from broker.store.tilefiles import TileFiles
from keys.directory.source import PublishedDirectory
from schemas.desk import AlertBody, DraftRequest, InboxItem, LogShown, OriginalDocument
from schemas.label import Label
from schemas.vocabulary import TLP, Handling, Lane, Precedence, Purpose, Status

STEP_S: Final = 100.0  # far beyond what a step takes, a redelivery after a kill included
MANY: Final = 12
DRUGS_AMONG: Final = (8, 11)  # of those, told to Malaysia alone while its node is down
LABELS: Final = 3  # shown of what waits at the hub


@dataclass(frozen=True)
class Given:
    """A cyber alert from a file, with the document it was made from.

    Attributes:
        tlp: As the document is marked, or AMBER.
    """

    alert: AlertBody
    original: OriginalDocument | None
    tlp: TLP = TLP.AMBER


class Story:
    """Tells and checks one step after the other."""

    def __init__(
        self, region: DemoRegion, processes: Processes, clients: dict[str, Client]
    ) -> None:
        """Take what runs."""
        self._region = region
        self._processes = processes
        self._clients = clients
        self._seen_waiting: list[tuple[Label, int]] = []
        self._phrases: list[str] = []

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
            self._hub_saw_labels()
            await self._proved()
            await self._caught()
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
        submission = await self._send(
            alert,
            ("MY", "VN"),
            original=given.original if given else None,
            tlp=given.tlp if given else TLP.AMBER,
        )
        await self._settled(submission)
        _outcomes(submission)
        for code in ("MY", "VN"):
            _reads(code, await self._arrived(code, submission))

    async def _drugs(self) -> None:
        _title("2. A container, told to one")
        screen.line("412,000 tablets in a container bound for Malaysia. Only Malaysia is told.")
        submission = await self._send(
            alerts.drugs(clock.now().date()), ("MY",), purposes=(Purpose.BORDER_CONTROL,)
        )
        await self._settled(submission)
        _outcomes(submission)
        _reads("MY", await self._arrived("MY", submission))
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
        today = clock.now().date()
        sent: list[tuple[Submission, tuple[str, ...]]] = []
        for number in range(MANY):
            drugs = number in DRUGS_AMONG
            to: tuple[str, ...] = ("MY",) if drugs else ("MY", "VN")
            alert = alerts.drugs(today) if drugs else alerts.cyber(today, 100 + number)
            purpose = Purpose.BORDER_CONTROL if drugs else Purpose.WARN
            submission = await self._send(alert, to, status=Status.EXERCISE, purposes=(purpose,))
            sent.append((submission, to))
            if number == MANY // 3:
                pid = await self._processes.kill_gateway()
                screen.line(f"  kill -9 {pid}   the gateway, in the middle of it")
            if number == MANY // 2:
                pid = await self._processes.kill("MY")
                screen.line(f"  kill -9 {pid}   Malaysia's node, too")
        async with asyncio.timeout(STEP_S):
            self._seen_waiting = await waiting_labels(self._region, "MY", Lane.EXERCISE, types=2)
        screen.line(
            f"  {MANY} exercise alerts are queued or on their way; Malaysia's wait at the hub."
            " Its node restarts."
        )
        await self._processes.start_node("MY")
        for submission, _ in sent:
            await self._settled(submission)
        for code in ("MY", "VN"):
            items = await self._all(code)
            wanted = {submission.alert_id for submission, to in sent if code in to}
            got = [item.alert_id for item in items if item.alert_id in wanted]
            _check(len(got) == len(set(got)) == len(wanted), f"{code} lost or doubled an alert")
            _check(len(items) == before[code] + len(wanted), f"{code} has something more")
        screen.line(
            f"  All {MANY} arrived at whom they were for, each once, marked EXERCISE; every one"
            " has its signed receipt."
        )

    def _hub_saw_labels(self) -> None:
        _title("5. What the hub saw")
        screen.line("While Malaysia's node was down, the hub's owner could read this of its mail:")
        by_type = {label.type: (label, size) for label, size in self._seen_waiting}
        for label, size in (*by_type.values(), *self._seen_waiting)[:LABELS]:
            screen.line(f"  {label_line(label, size)}")
        phrases = tuple(dict.fromkeys(self._phrases))
        size, found = search(self._region.hub, phrases)
        _check(not found, "the hub's disk holds content")
        screen.line(
            f"  Searched {size // 1024:,} KiB of the hub's disk for {len(phrases)} texts of"
            " the alerts: not one is there, only labels, sealed bytes and signed decisions."
        )

    async def _proved(self) -> None:
        _title("6. What nobody can deny")
        screen.line(
            "Every verdict is a leaf of a log. The three nodes cosign its growth, and each asks"
            " it for its own mail."
        )
        async with asyncio.timeout(STEP_S):
            while not _all_proved(logs := await self._logs()):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.2)
        for code, log in zip(NODES, logs, strict=True):
            screen.line(
                f"  {NAMES[code]:<10} copied {log.copied} leaves, found all {log.own_proved} of its"
                f" own, cosigned by {len(log.cosigned_by)} of {log.witnesses} witnesses"
            )

    async def _caught(self) -> None:
        _title("7. A corrupted hub")
        place = LedgerPlace(self._region.hub)
        changed = rewrite_a_decision(place.files)
        screen.line(f"  At night, somebody at the hub rewrites a decision on disk: {changed}")
        async with asyncio.TaskGroup() as group:
            audit = group.create_task(self._audited())
            for code in NODES:
                group.create_task(self._notices(code, "log-broken"))
        screen.line("An auditor, alone with the files, runs the command that anybody can run:")
        for line in audit.result():
            screen.line(f"  {line}")

    async def _notices(self, code: str, alarm: str) -> None:
        async with asyncio.timeout(STEP_S):
            while not await self._alarmed(code, alarm):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        screen.line(f"  {NAMES[code]}'s node reads it again, compares its copy: ALARM {alarm}.")

    async def _audited(self) -> list[str]:
        """Return what `kentong audit verify` says of an export of the log."""
        policy = self._region.folder / "trust.policy"
        view = PublishedDirectory.at(self._region.hub).view()
        policy.write_bytes(write_policy(regional_policy(view, at=clock.now())))
        bundle = self._region.folder / "log.tar"
        export = ("--home", str(self._region.hub), "audit", "export", str(bundle))
        async with asyncio.timeout(STEP_S):
            code, output = await self._processes.command(*export)
            _check(code == 0, "the log was not exported")
            verify = ("audit", "verify", str(bundle), "--policy", str(policy))
            code, output = await self._processes.command(*verify)
        _check(code == Exit.BROKEN, "the auditor did not notice")
        failed = [line for line in output.splitlines() if line.startswith("FAIL")]
        return ["$ kentong audit verify log.tar --policy trust.policy", *failed, f"exit {code}"]

    async def _logs(self) -> list[LogShown]:
        shown = [(await self._clients[code].node_status()).log for code in NODES]
        return [log for log in shown if log is not None]

    async def _alarmed(self, code: str, alarm: str) -> bool:
        raised = (await self._clients[code].node_status()).alarms
        return any(each.code == alarm for each in raised)

    async def _send(
        self,
        alert: AlertBody,
        to: tuple[str, ...],
        *,
        status: Status = Status.ACTUAL,
        purposes: tuple[Purpose, ...] = (Purpose.WARN,),
        original: OriginalDocument | None = None,
        tlp: TLP = TLP.AMBER,
    ) -> Submission:
        self._phrases += phrases_of(alert.body)
        request = DraftRequest(
            status=status,
            alert=alert,
            recipients=to,
            agency="SPF",
            tlp=tlp,
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
            for code in region.nodes
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


def _reads(code: str, item: InboxItem) -> None:
    screen.line(
        f"  {NAMES[code]} reads: {reading.title(item)!r}, TLP {item.tlp.upper()}, signed by"
        f" {item.officer.pseudonym}, let through by {item.decision.gateway} under:"
        f" {item.decision.rule}"
    )


def _all_proved(logs: Sequence[LogShown]) -> bool:
    """Return whether all nodes hold the same leaves, all cosigned, and found their own mail."""
    same = len(logs) == len(NODES) and len({log.proven for log in logs}) == 1
    return same and all(
        log.proven == log.copied > 0
        and not (log.own_waiting or log.own_overdue)
        and len(log.cosigned_by) == log.witnesses
        for log in logs
    )


def _title(text: str) -> None:
    screen.line()
    screen.line(text, bold=True)


def _check(holds: bool, failure: str) -> None:
    if not holds:
        raise BrokerError("demo-failed", failure)


def rewrite_a_decision(files: TileFiles) -> str:
    """Change one committed route in the newest leaves on the hub's disk; return its file."""
    raw = files.checkpoint()
    if raw is None:
        raise BrokerError("demo-failed", "the log has no checkpoint")
    size = parse_checkpoint(parse_note(raw).text).size
    newest = list(bundles_of(size))[-1]
    entries = list(files.read(newest))
    first = bytearray(entries[0])
    first[-60] ^= 1
    entries[0] = bytes(first)
    (files.folder / newest.path).write_bytes(encode_bundle(entries))
    return newest.path
