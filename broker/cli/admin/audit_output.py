"""What an auditor reads after a verification: every check, what the log is, what is not proven."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from broker.audit.findings import Exit
from broker.audit.forks import MAX_SHOWN
from broker.audit.verify import Audited
from broker.audit.witnessing import fewest, moment, shown
from broker.cli import screen
from broker.cli.text import say
from broker.errors import BrokerError
from broker.log.policy import Policy
from keys.errors import KeysError


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Give what shows, on a terminal, how many leaves are done; in a pipe it shows nothing."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    shown_bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with shown_bar as bar:
        task = bar.add_task(say("leaves-checked", "leaves"), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show(audited: Audited, trust: Policy, *, as_json: bool, kept: bool) -> None:
    """Print the checks, the log in numbers, and the limits of all this.

    Args:
        audited: What was found.
        trust: By which the auditor verified.
        as_json: Whether a program reads it.
        kept: Whether the notes of forks lie in a folder; else they are printed.
    """
    if as_json:
        _as_json(audited, trust)
        return
    show_checks(audited)
    checkpoint, tally = audited.checkpoint, audited.tally
    if checkpoint is not None:
        cosigned = 0 if audited.signed is None else len(audited.signed.cosigned)
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(tally.kinds.items()))
        rows = [
            (say("log-origin", "log"), checkpoint.origin),
            (say("log-size", "leaves"), str(checkpoint.size)),
            (say("log-root", "root"), checkpoint.root.hex()),
            (say("log-from", "from"), moment(tally.first_s) or "-"),
            (say("log-to", "to"), moment(tally.last_s) or "-"),
            (say("log-kinds", "kinds"), kinds or "-"),
            (say("log-witnesses", "witnesses"), f"{cosigned} / {len(trust.witnesses)}"),
        ]
        screen.table(("", ""), rows)
    for number, fork in enumerate(audited.forks, start=1):
        if not kept:
            typer.echo(screen.clean(f"\nfork {number}: {fork.path}\n"))
            for note in (fork.newest, fork.other):
                typer.echo(screen.clean(note.decode()))
    screen.line(say("not-proven", "This does not prove:"))
    for limit in _limits(trust):
        screen.line(f"- {limit}")


def show_checks(audited: Audited) -> None:
    """Print one line a check, however long."""
    for line in audited.findings.lines:
        typer.echo(screen.clean(f"{line.outcome:4} {line.check}: {line.detail}"))


def keep_evidence(audited: Audited, evidence: Path | None) -> bool:
    """Write both sides of each fork out, if the auditor said where; return whether they lie there.

    Where they cannot be written, that is one more finding: nothing keeps a fork from being told.
    """
    if evidence is None or not audited.forks:
        return False
    try:
        for fork in audited.forks:
            for path, raw in fork.files().items():
                _write_once(evidence / fork.name / path, raw)
    except OSError as error:
        said = f"{evidence} cannot be written: {error.strerror}; the notes are told here instead"
        audited.findings.failed("evidence", said, Exit.UNREADABLE)
        return False
    said = ", ".join(str(evidence / fork.name) for fork in audited.forks[:MAX_SHOWN])
    if all(fork.shown for fork in audited.forks[:MAX_SHOWN]):
        audited.findings.passed("evidence", f"{said}: bundles that show it to anybody")
    else:
        kept = "not all tiles are there that show it to others, so keep the whole bundle, too"
        audited.findings.warned("evidence", f"{said}: {kept}")
    return True


def _write_once(place: Path, raw: bytes) -> None:
    """Write a file of evidence; what lies there already is never overwritten.

    Raises:
        OSError: It cannot be written, or something else lies there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with place.open("xb") as file:
            file.write(raw)
    except FileExistsError:
        if place.read_bytes() != raw:
            raise


def unreadable(
    error: BrokerError | KeysError, schema: str, *, as_json: bool, err: bool = False
) -> typer.Exit:
    """Return the end of a command whose files cannot be read, having said why.

    Args:
        error: What was wrong with them.
        schema: What the command prints as JSON.
        as_json: Whether a program reads what is printed.
        err: Whether people are told beside what is printed.
    """
    if as_json:
        end = int(Exit.UNREADABLE)
        screen.as_json(schema, ok=False, exit=end, code=error.code, message=str(error))
    else:
        typer.echo(screen.clean(f"FAIL {error} [{error.code}]"), err=err)
    return typer.Exit(Exit.UNREADABLE)


def _limits(trust: Policy) -> list[str]:
    return [
        say("not-proven-all", "that a gateway logged all that it decided"),
        say("not-proven-true", "that contents are true"),
        say(
            "not-proven-keys",
            "that a leaf was signed before its gateway's key ended or was stolen: the list of keys"
            " has no dates",
        ),
        say(
            "not-proven-witnesses",
            "that fewer than k witnesses collude (k is {count} in this policy)",
            count=fewest(trust),
        ),
        say("not-proven-later", "anything after the last checkpoint"),
    ]


def _as_json(audited: Audited, trust: Policy) -> None:
    checkpoint, tally = audited.checkpoint, audited.tally
    cosigned = {} if audited.signed is None else audited.signed.cosigned
    screen.as_json(
        "audit-verify",
        ok=audited.findings.exit is Exit.PASS,
        exit=int(audited.findings.exit),
        checks=[
            {"check": line.check, "outcome": line.outcome, "detail": line.detail}
            for line in audited.findings.lines
        ],
        origin=None if checkpoint is None else checkpoint.origin,
        size=None if checkpoint is None else checkpoint.size,
        root=None if checkpoint is None else checkpoint.root.hex(),
        kinds=tally.kinds,
        first=moment(tally.first_s),
        last=moment(tally.last_s),
        witnesses=[
            {"name": shown(name), "time": moment(cosigned[name])} for name in sorted(cosigned)
        ],
        witnesses_known=len(trust.witnesses),
        quorum=fewest(trust),
        forks=[
            {"path": fork.path, "newest": _text(fork.newest), "other": _text(fork.other)}
            for fork in audited.forks
        ],
        not_proven=_limits(trust),
    )


def _text(note: bytes) -> str:
    """Return a note in Base64: JSON would not carry it byte for byte in all hands."""
    return base64.b64encode(note).decode()
