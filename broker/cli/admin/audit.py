"""`kentong audit`: the log as files, and verified by them alone."""

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from broker.audit.bundle import CHECKPOINT
from broker.audit.findings import Exit
from broker.cli import screen
from broker.cli.admin.audit_output import keep_evidence, show, unreadable
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
from broker.cli.admin.changes import read_file
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.ledger.place import LedgerPlace
from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import leaf_hash
from broker.log.note import parse_note
from broker.log.proof import MAX_PROOF_BYTES, parse_proof
from broker.log.tiles import bundles_of, tiles_of
from broker.settings import home

MAX_LEAF_BYTES = 64 * 1024 * 1024  # of anybody's log: tlog-proof has no limit
app = typer.Typer(no_args_is_help=True)


@app.callback()
def audit() -> None:
    """Take the log as files, and verify it offline."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder to make, or a file that ends in .tar.")],
    as_json: AsJSON = False,
) -> None:
    """Write the whole log as a bundle, at the hub; anybody can then verify it.

    Example: kentong audit export log-2026-11.tar
    """
    place = LedgerPlace(home())
    note = place.files.checkpoint()
    if note is None:
        raise BrokerError("no-log", "there is no log yet: kentong log run")
    if out.exists():
        raise BrokerError("exists", f"{out} exists already")
    size = parse_checkpoint(parse_note(note).text).size
    paths = [tile.path for tile in (*tiles_of(size), *bundles_of(size))]
    try:
        _write(place.files.folder, paths, note, out)
    except OSError as error:
        raise BrokerError("bad-file", f"{out} cannot be written") from error
    if as_json:
        screen.as_json("audit-export", bundle=str(out), size=size)
        return
    screen.line(say("exported", "{size} leaves are in {out}.", size=size, out=out))
    screen.line(say("exported-next", "Next: kentong audit verify {out} --policy POLICY", out=out))


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
    too few witnesses or files are there, 4 if its owner signed two histories.

    Example: kentong audit verify log-2026-11.tar --policy trust.policy --gateways gateways.vkeys
    """
    ask = Question(policy, gateways, since, max_age, processes, tiles_only=tiles_only)
    audited, trust = ask.answer(bundle)
    keep_evidence(audited, evidence)
    show(audited, trust, as_json=as_json, evidence=evidence)
    raise typer.Exit(audited.findings.exit)


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

    Ends with 0 if it does, 1 if not, 2 if a file cannot be read, 3 without a quorum.

    Example: kentong audit verify-proof entry.tlog-proof --policy trust.policy --leaf entry
    """
    try:
        trust, _ = read_policy(policy)
        entry = read_whole(leaf, MAX_LEAF_BYTES)
        found = parse_proof(read_file(proof, MAX_PROOF_BYTES))
    except BrokerError as error:
        raise unreadable(error) from error
    try:
        signed = found.verify(leaf_hash(entry), trust, every_key=all_keys)
    except LogError as error:
        end = Exit.UNMET if error.code == "quorum-unmet" else Exit.BROKEN
        if as_json:
            screen.as_json("verify-proof", ok=False, code=error.code, message=str(error))
        else:
            screen.line(f"FAIL {error} [{error.code}]")
        raise typer.Exit(end) from None
    checkpoint = signed.checkpoint
    if as_json:
        screen.as_json(
            "verify-proof", origin=checkpoint.origin, index=found.index, size=checkpoint.size
        )
        return
    text = "PASS leaf {index} of {size} in {origin}"
    screen.line(
        say("proof-holds", text, index=found.index, size=checkpoint.size, origin=checkpoint.origin)
    )


def _write(source: Path, paths: Sequence[str], note: bytes, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".tar":
        with tarfile.open(out, "w") as archive:
            for path in paths:
                archive.add(source / path, path)
            named = tarfile.TarInfo(CHECKPOINT)  # the one that was read: a newer may lie there
            named.size = len(note)
            archive.addfile(named, io.BytesIO(note))
        return
    for path in paths:
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)
    out.mkdir(exist_ok=True)
    (out / CHECKPOINT).write_bytes(note)
