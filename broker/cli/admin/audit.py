"""`kentong audit`: the log as files, and verified by them alone."""

from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.bundle import opened
from broker.audit.export import Export, Place
from broker.audit.findings import UNMET, UNREADABLE, Exit
from broker.audit.report import report_of
from broker.cli import screen
from broker.cli.admin.audit_output import keep_evidence, show, unreadable
from broker.cli.admin.audit_page import page
from broker.cli.admin.audit_question import (
    GatewayFile,
    MaxAge,
    PolicyFile,
    Processes,
    Question,
    Since,
    read_policy,
    read_whole,
)
from broker.cli.admin.audit_report import Format, as_csv, as_table, print_json, refuse, write_out
from broker.cli.admin.opening import open_sealed
from broker.cli.admin.options import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.log.errors import LogError
from broker.log.merkle import leaf_hash
from broker.log.note import MAX_NOTE_BYTES
from broker.log.proof import MAX_PROOF_BYTES, parse_proof
from broker.settings import home

TILES: Final = "log/tiles"  # of the home folder, as broker.ledger.place has it
MAX_LEAF_BYTES: Final = 64 * 1024 * 1024  # of anybody's log: tlog-proof has no limit
app = typer.Typer(no_args_is_help=True)
app.command("open")(open_sealed)


@app.callback()
def audit() -> None:
    """Take the log as files, and verify it offline."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder to make, or a file that ends in .tar.")],
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that the auditor kept: what is new since.")
    ] = None,
    openings: Annotated[
        Path | None, typer.Option(help="Folder of what you may show, a file <index> each.")
    ] = None,
    proofs: Annotated[
        Path | None, typer.Option(help="Folder of .tlog-proof files, and .leaf files beside.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Write the log as a bundle, at the hub; anybody can then verify it.

    The bundle ends at the newest checkpoint that a quorum of witnesses cosigned, if there is one.

    Example: kentong audit export log-2026-11.tar --since log-2026-10.checkpoint
    """
    kept = b"" if since is None else read_whole(since, MAX_NOTE_BYTES)
    with opened(home() / TILES) as tiles:
        made = Export.of(Place(tiles, openings, proofs), kept)
        files = made.write(out)
    if as_json:
        screen.as_json(
            "audit-export",
            bundle=str(out),
            size=made.size,
            since=made.since,
            files=files,
            witnessed=made.witnessed,
        )
        return
    screen.line(say("exported", "{size} leaves are in {out}.", size=made.size, out=out))
    if made.since:
        screen.line(
            say(
                "exported-since",
                "Of these the auditor has verified {since}; they are not written out again.",
                since=made.since,
            )
        )
    if not made.witnessed:
        screen.line(
            say(
                "exported-unwitnessed",
                "No checkpoint has a quorum of witnesses yet; this is the newest of all.",
            )
        )
    screen.line(
        say(
            "exported-next",
            "Next: kentong audit verify {out} --policy POLICY --gateways GATEWAYS",
            out=out,
        )
    )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder or tar of a log.")],
    policy: PolicyFile,
    gateways: GatewayFile = None,
    since: Since = None,
    max_age: MaxAge = None,
    tiles_only: Annotated[
        bool, typer.Option("--tiles-only", help="Any C2SP log: entries are not read.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for the two histories, if there are two.")
    ] = None,
    processes: Processes = None,
    as_json: AsJSON = False,
) -> None:
    """Verify a log with nothing but its files and your own policy.

    Ends with 0 if all holds, 1 if the log is broken, 2 if it cannot be read, 3 if it is whole but
    too few witnesses or files are there, or no keys of gateways were given to hold its leaves
    against, 4 if its owner signed two histories.

    Example: kentong audit verify log-2026-11.tar --policy trust.policy --gateways gateways.vkeys
    """
    ask = Question(policy, gateways, since, max_age, processes, tiles_only=tiles_only)
    audited, trust = ask.answer(bundle, "audit-verify", as_json=as_json)
    kept = keep_evidence(audited, evidence)
    show(audited, trust, as_json=as_json, kept=kept)
    raise typer.Exit(audited.findings.exit)


@app.command()
def report(
    bundle: Annotated[Path, typer.Argument(help="Folder or tar of a log.")],
    policy: PolicyFile,
    gateways: GatewayFile = None,
    since: Since = None,
    max_age: MaxAge = None,
    form: Annotated[Format, typer.Option("--format", help="What it is written as.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="File to make; else it is printed.")] = None,
    processes: Processes = None,
    as_json: AsJSON = False,
) -> None:
    """Count what a log holds: by month and kind, and of decisions shown by verdict and country.

    Exercises are counted apart. A log that does not verify has no report: the command then ends
    as `kentong audit verify` does.

    Example: kentong audit report log.tar --policy trust.policy --gateways gateways.vkeys
    """
    ask = Question(policy, gateways, since, max_age, processes)
    audited, _ = ask.answer(bundle, "audit-report", as_json=as_json)
    if audited.findings.exit is not Exit.PASS:
        raise refuse(audited, as_json=as_json)
    made = report_of(audited.tally)
    if as_json:
        print_json(made, audited)
    elif form is Format.CSV:
        write_out(as_csv(made), out)
    elif form is Format.HTML:
        write_out(page(made, audited), out)
    else:
        write_out(as_table(made, audited), out)


@app.command("verify-proof")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="A .tlog-proof file.")],
    policy: PolicyFile,
    leaf: Annotated[Path, typer.Option(help="The entry, as it stands in the log.")],
    all_keys: Annotated[
        bool, typer.Option("--all-keys", help="All keys of the log must have signed, as ours do.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Verify that an entry stands in a log, of ours or any other C2SP log.

    Ends with 0 if it does, 1 if not, 2 if a file cannot be read, the note in the proof included, 3
    without a quorum.

    Example: kentong audit verify-proof entry.tlog-proof --policy trust.policy --leaf entry
    """
    try:
        trust, _ = read_policy(policy)
        entry = read_whole(leaf, MAX_LEAF_BYTES)
        found = parse_proof(read_whole(proof, MAX_PROOF_BYTES))
    except BrokerError as error:
        raise unreadable(error, "verify-proof", as_json=as_json) from error
    try:
        signed = found.verify(leaf_hash(entry), trust, every_key=all_keys)
    except LogError as error:
        end = _end_of(error)
        if as_json:
            screen.as_json(
                "verify-proof", ok=False, exit=int(end), code=error.code, message=str(error)
            )
        else:
            screen.line(f"FAIL {error} [{error.code}]")
        raise typer.Exit(end) from None
    checkpoint = signed.checkpoint
    if as_json:
        screen.as_json(
            "verify-proof", origin=checkpoint.origin, index=found.index, size=checkpoint.size
        )
        return
    screen.line(
        say(
            "proof-holds",
            "PASS leaf {index} of {size} in {origin}",
            index=found.index,
            size=checkpoint.size,
            origin=checkpoint.origin,
        )
    )


def _end_of(error: LogError) -> Exit:
    if error.code in UNREADABLE:
        return Exit.UNREADABLE
    return Exit.UNMET if error.code in UNMET else Exit.BROKEN
