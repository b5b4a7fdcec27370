"""The gateways' own counters: a decision that was left out leaves a hole in them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from broker.audit.findings import Findings
from broker.log.leaf import Leaf

HOLE_MAY_LAST: Final = timedelta(minutes=10)  # an honest crash is voided by then
MAY_GO_BACK_S: Final = 300  # the skew that nodes and gateways allow
_SHOWN: Final = 3


def check_counters(findings: Findings, leaves: Sequence[Leaf]) -> None:
    """Look for numbers that are missing or taken twice, and for times that go back."""
    taken: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
    twice = 0
    back: list[int] = []
    latest: dict[str, int] = {}
    for index, leaf in enumerate(leaves):
        said = leaf.signed.statement
        numbers = taken[said.gateway, said.boot]
        twice += said.seq in numbers
        numbers[said.seq] = said.time_s
        if said.time_s < latest.get(said.gateway, 0) - MAY_GO_BACK_S:
            back.append(index)
        latest[said.gateway] = max(said.time_s, latest.get(said.gateway, 0))
    newest = max(latest.values(), default=0)
    young = old = 0
    for numbers in taken.values():
        following = newest
        for seq in range(max(numbers), -1, -1):
            if seq in numbers:
                following = numbers[seq]
            elif newest - following > HOLE_MAY_LAST.total_seconds():
                old += 1
            else:
                young += 1
    boots = f"{len(taken)} runs of gateways"
    if twice or old:
        findings.failed("counters", f"{boots}: {old} numbers missing, {twice} taken twice")
    elif young:
        findings.warned("counters", f"{boots}: {young} numbers missing for less than 10 minutes")
    else:
        findings.passed("counters", f"{boots}, no number missing")
    tell(findings, "times", "none goes back", back)


def tell(findings: Findings, check: str, good: str, bad: Sequence[int]) -> None:
    """Note a check of every leaf, and where the first ones are that fail it."""
    if bad:
        shown = ", ".join(map(str, bad[:_SHOWN]))
        findings.failed(check, f"{len(bad)} do not, at {shown}")
    else:
        findings.passed(check, good)
