"""(h) The log: how fast it grows and is verified, what it adds to a decision and takes from it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import islice
from typing import Any

from broker import clock
from broker.ledger.place import LedgerPlace
from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.note import parse_note
from broker.log.tiles import bundles_of
from broker.store.tilefiles import COSIGNED
from broker.transport.streams import inbox_of
from schemas.vocabulary import Lane
from tests.bench.gateways import Makers, carry, makers_of
from tests.bench.results import Goal, Part, Row, quantile, rate
from tests.bench.stage import LOOK_S, Stage
from tests.bench.waiting import fill, held

MEMBERS = ("KH", "MY", "PH", "SG")
PER_S = 4.0  # decisions while the added latency is measured
STILL_S = 1.0  # without growth
LIMIT_S = 300.0


async def measure_store(*, appended: int, audited: int) -> Part:
    """The log alone, by the benchmarks that stand beside this one; no server takes part."""
    grown = await _alone("tests.bench.bench_append", appended)
    checked = await _alone("tests.bench.bench_audit", audited)
    leaves_s = grown["checked_leaves_per_second"]
    wanted = grown["goal_checked"]
    return Part(
        "h",
        f"The log alone, {appended:,} leaves appended and {audited:,} verified",
        rows=[
            Row(
                "checked leaves into signed checkpoints",
                leaves_s,
                "leaves/s",
                Goal(leaves_s / wanted, 1.0, f"of {wanted:,}/s"),
            ),
            Row("bare signature checks", grown["bare_signatures_per_second"], "leaves/s"),
            Row(
                "messages into signed checkpoints, each checked",
                grown["end_to_end_leaves_per_second"],
                "leaves/s",
                Goal(grown["ratio"], grown["goal_ratio"], "of bare"),
            ),
            Row("sequencer's memory at most", grown["peak_rss_mib"], "MiB"),
            Row("signer's memory at most", grown["peak_rss_signer_mib"], "MiB"),
            Row("bare signature checks", checked["bare_seconds"], "s"),
            Row(
                "audit verify",
                checked["seconds"],
                "s",
                Goal(checked["ratio"], checked["goal"], "of bare", at_most=True),
            ),
            Row("audit verify's memory at most", checked["peak_rss_mib"], "MiB"),
            Row("one of its workers' at most", checked["peak_rss_worker_mib"], "MiB"),
        ],
    )


async def measure(stage: Stage, *, count: int, rounds: int, seconds: float) -> Part:
    """Gateway with the log off and on, in turn; then what a decision waits for its proof.

    Args:
        stage: Of a region with a log.
        count: Alerts of each round.
        rounds: How often.
        seconds: How long decisions come while latency is measured.
    """
    makers = makers_of(stage.region)
    took: dict[str, list[float]] = {"off": [], "on": []}
    spent: dict[str, list[float]] = {"off": [], "on": []}
    async with AsyncExitStack() as stack:
        for code in MEMBERS:
            await stack.enter_async_context(stage.node(code))
        pid = await stack.enter_async_context(stage.gateway())

        for code in MEMBERS:  # who witnesses answers nothing meanwhile: both ways the same work
            inbox = inbox_of(code, Lane.NORMAL)
            await stack.enter_async_context(held(stage.hub, inbox, str(Lane.NORMAL)))

        async def one(name: str) -> None:
            done = await carry(stage, makers, count, pid)
            took[name].append(done.seconds)
            spent[name].append(done.spent_s[pid])

        for _ in range(rounds):
            await one("off")
            async with stage.process("log", stage.region.hub, "log", "run"):
                await _caught_up(LedgerPlace(stage.region.hub))
                await one("on")
        async with stage.process("log", stage.region.hub, "log", "run"):
            await _caught_up(LedgerPlace(stage.region.hub))
            added = await _added(stage, makers, seconds)
        await stage.empty()
    off, on = (rate(count, took[name]) for name in took)
    off_cpu, on_cpu = (rate(count, spent[name]) for name in spent)
    return Part(
        "h",
        f"The log beside a gateway, {len(MEMBERS)} witnesses",
        rows=[
            Row("gateway, log off", off, "alerts/s"),
            Row("gateway, log on", on, "alerts/s", Goal(on / off, 0.97, "of off")),
            Row("gateway, log off, per second of processor", off_cpu, "alerts/s"),
            Row(
                "gateway, log on, per second of processor",
                on_cpu,
                "alerts/s",
                Goal(on_cpu / off_cpu, 0.97, "of off"),
            ),
            Row("decision -> cosigned inclusion, p50", round(quantile(added, 0.5), 2), "s"),
            Row("decision -> cosigned inclusion, p99", round(quantile(added, 0.99), 2), "s"),
        ],
        notes=[
            "a round of cosignatures begins ten seconds after the last, or later",
            "the witnesses' nodes copy and cosign on the same cores, and read no mail meanwhile",
            "per second of processor: of the gateway alone",
        ],
    )


async def _alone(module: str, leaves: int) -> dict[str, Any]:
    environment = {**os.environ, "KENTONG_BENCH_LEAVES": str(leaves)}  # noqa: TID251 - handed on
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    found: dict[str, Any] = json.loads(out)
    return found


def _sizes(place: LedgerPlace) -> tuple[int, int]:
    """Leaves that are signed, and that a quorum cosigned."""
    notes = (place.files.checkpoint(), place.files.raw(COSIGNED))
    signed, cosigned = (
        0 if raw is None else parse_checkpoint(parse_note(raw).text).size for raw in notes
    )
    return signed, cosigned


async def _caught_up(place: LedgerPlace, least: int = 1) -> None:
    """Return once the log has `least` leaves, stopped growing, and all of it is cosigned."""
    before, since = -1, time.perf_counter()
    async with asyncio.timeout(LIMIT_S):
        while True:
            signed, cosigned = _sizes(place)
            if signed != before:
                before, since = signed, time.perf_counter()
            if signed >= least and signed == cosigned and time.perf_counter() - since > STILL_S:
                return
            await asyncio.sleep(LOOK_S)


async def _added(stage: Stage, makers: Makers, seconds: float) -> list[float]:
    """Seconds from each decision's record until a quorum cosigned a tree with its leaf."""
    place = LedgerPlace(stage.region.hub)
    first, count = _sizes(place)[1], int(seconds * PER_S)
    made = [one for code in MEMBERS for one in islice(makers[code], count // len(MEMBERS))]
    seen: list[tuple[int, float]] = []

    async def look() -> None:
        while True:
            size = _sizes(place)[1]
            if size > (seen[-1][0] if seen else first):
                seen.append((size, time.time()))  # noqa: TID251 - against the server's clock
            await asyncio.sleep(LOOK_S)

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look())
        for one in made:
            await fill(stage.hub, [(one.subject, one.raw, one.digest.hex())])
            await asyncio.sleep(1 / PER_S)
        await _caught_up(place, first + len(made))
        looking.cancel()
    if not seen or seen[-1][0] < first + len(made):  # the log was ready between two looks
        seen.append((_sizes(place)[1], time.time()))  # noqa: TID251 - as above
    decisions = await _decisions(stage, place, first, seen[-1][0])
    return [next(at for size, at in seen if size > index) - taken for index, taken in decisions]


async def _decisions(
    stage: Stage, place: LedgerPlace, first: int, size: int
) -> Sequence[tuple[int, float]]:
    """The decisions among some leaves: index of each, and when the stream took its record."""
    entries = [entry for tile in bundles_of(size) for entry in place.files.read(tile)]
    found = []
    for index, entry in enumerate(entries[first:], start=first):
        leaf = parse_leaf(entry)
        if leaf.signed.statement.kind is LeafKind.DECISION:
            stream = f"AUDIT_{clock.now().year}"
            answer = await stage.hub.api(f"STREAM.MSG.GET.{stream}", {"seq": leaf.stream_seq})
            taken = answer["message"]["time"][:26].rstrip("Z")  # nanoseconds cut off
            found.append((index, datetime.fromisoformat(f"{taken}+00:00").timestamp()))
    return found
