"""Who cosigned, when, and whether that is enough."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from broker.audit.findings import Exit, Findings, Places
from broker.log.errors import LogError
from broker.log.policy import Policy, SignedCheckpoint

AHEAD_S = 300  # the skew that everybody is allowed


def check_witnesses(findings: Findings, policy: Policy, signed: SignedCheckpoint) -> None:
    """Compare who cosigned with the quorum that the policy asks for."""
    who = ", ".join(
        f"{shown(name)} {moment(time_s)}" for name, time_s in sorted(signed.cosigned.items())
    )
    said = f"{len(signed.cosigned)} of {len(policy.witnesses)} cosigned" + (who and f": {who}")
    try:
        policy.require_quorum(signed)
    except LogError:
        findings.failed("witnesses", f"{said}; no quorum", Exit.UNMET)
    else:
        findings.passed("witnesses", said)


def check_age(
    findings: Findings, policy: Policy, signed: SignedCheckpoint, *, now: datetime,
    max_age: timedelta | None,
) -> None:  # fmt: skip
    """Say how long ago a quorum had cosigned, and hold it against the auditor's limit."""
    time_s = quorum_time(policy, signed.cosigned)
    if time_s is None:
        few = "too few witnesses say" if signed.cosigned else "no witness says"
        said = f"{few} when this was the newest"
        if max_age is None:
            findings.skipped("age", said)
        else:
            findings.failed("age", said, Exit.UNMET)
        return
    age_s = int(now.timestamp()) - time_s
    said = f"cosigned {age_s} s ago, at {moment(time_s)}"
    if age_s < -AHEAD_S:
        said = f"cosigned {-age_s} s in the future, at {moment(time_s)}"
        if max_age is None:
            findings.warned("age", said)
        else:
            findings.failed("age", said, Exit.UNMET)
    elif max_age is not None and age_s > max_age.total_seconds():
        findings.failed("age", said, Exit.UNMET)
    else:
        findings.passed("age", said)


def check_order(findings: Findings, known: Iterable[SignedCheckpoint]) -> None:
    """Look for a witness that says it saw a larger tree before a smaller one."""
    back = Places()
    latest: dict[bytes, int] = {}
    pairs = 0
    sizes: dict[int, list[SignedCheckpoint]] = {}
    for each in known:
        sizes.setdefault(each.checkpoint.size, []).append(each)
    for size in sorted(sizes):
        stated = [pair for each in sizes[size] for pair in each.cosigned.items()]
        for name, time_s in stated:
            pairs += 1
            if time_s < latest.get(name, 0):
                back.add(f"{shown(name)} at {size} leaves")
        for name, time_s in stated:
            latest[name] = max(time_s, latest.get(name, 0))
    if back.count:
        findings.failed("cosignature times", f"{back.count} go back: {back.shown}")
    elif pairs:
        findings.passed("cosignature times", f"{pairs} in {len(sizes)} sizes, none goes back")
    else:
        findings.skipped("cosignature times", "there are no cosignatures")


def quorum_time(policy: Policy, cosigned: Mapping[bytes, int]) -> int | None:
    """Return since when a quorum had cosigned; None if none has.

    One witness that lies of its clock makes a checkpoint no younger. Where the policy asks for
    nobody, it is the newest time of any witness that it names.
    """
    times = sorted(cosigned.values(), reverse=True)
    for time_s in times:
        if policy.quorum_met({name for name, each in cosigned.items() if each >= time_s}):
            return time_s
    return None


def fewest(policy: Policy) -> int:
    """Return how many witnesses are a quorum, if they are chosen well: the k of "k collude"."""
    least = {witness.name: 1 for witness in policy.witnesses}
    for group in policy.groups:  # each after its members
        least[group.name] = sum(sorted(least[each] for each in group.members)[: group.threshold])
    return 0 if policy.quorum is None else least[policy.quorum]


def shown(name: bytes) -> str:
    """Return a witness's name in the policy, which is bytes, as text."""
    return name.decode("utf-8", "backslashreplace")


def moment(time_s: int | None) -> str | None:
    """Return a time in ISO 8601; as a number of seconds where no calendar has it."""
    if time_s is None:
        return None
    try:
        return datetime.fromtimestamp(time_s, tz=UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{time_s} s"
