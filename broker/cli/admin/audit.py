"""`kentong audit`: the log as files, and verified by them alone."""

import io
import shutil
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.audit.bundle import CHECKPOINT, opened
from broker.audit.findings import Exit
from broker.audit.verify import Audited, Auditor
from broker.cli import screen
from broker.cli.admin.changes import read_file
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.ledger.place import LedgerPlace
from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import leaf_hash
from broker.log.note import MAX_NOTE_BYTES, parse_note
from broker.log.notekeys import SignatureType, parse_vkey
from broker.log.policy import Policy
from broker.log.policyfile import parse_policy
from broker.log.proof import MAX_PROOF_BYTES, parse_proof
from broker.log.tiles import MAX_ENTRY_BYTES, bundles_of, tiles_of
from broker.settings import home
from keys.primitives.hashing import sha256
from keys.primitives.signing import VerifyKey

MAX_POLICY_BYTES = 1024 * 1024
PolicyFile = Annotated[
    Path, typer.Option("--policy", help="Your own trust: log and witness keys, and the quorum.")
]
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
    gateways: Annotated[
        Path | None, typer.Option(help="Keys of gateways, one vkey a line; else not checked.")
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that you kept: it must lead to this one.")
    ] = None,
    max_age: Annotated[
        int | None, typer.Option(min=1, help="Most minutes since a witness cosigned.")
    ] = None,
    tiles_only: Annotated[
        bool, typer.Option("--tiles-only", help="Any C2SP log: entries are not read.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for the two histories, if there are two.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Verify a log with nothing but its files and your own policy.

    Ends with 0 if all holds, 1 if the log is broken, 2 if it cannot be read, 3 if it is whole but
    too few witnesses or files are there, 4 if its owner signed two histories.

    Example: kentong audit verify log-2026-11.tar --policy trust.policy --gateways gateways.vkeys
    """
    trust, raw_policy = _policy(policy)
    auditor = Auditor(
        trust,
        () if gateways is None else _gateways(gateways),
        None if max_age is None else timedelta(minutes=max_age),
        tiles_only=tiles_only,
    )
    kept = b"" if since is None else read_file(since, MAX_NOTE_BYTES)
    try:
        with opened(bundle) as files:
            audited = auditor.verify(files, now=clock.now(), since=kept)
    except BrokerError as error:
        raise _unreadable(error) from error
    audited.findings.passed("policy", f"SHA-256 {sha256(raw_policy).hex()}")
    _keep(audited, evidence)
    _show(audited, trust, as_json=as_json)
    raise typer.Exit(audited.findings.exit)


@app.command("verify-proof")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="A .tlog-proof file.")],
    policy: PolicyFile,
    leaf: Annotated[Path, typer.Option(help="The entry, as it stands in the log.")],
    as_json: AsJSON = False,
) -> None:
    """Verify that an entry stands in a log, of ours or any other C2SP log.

    Ends with 0 if it does, 1 if not, 2 if a file cannot be read, 3 without a quorum.

    Example: kentong audit verify-proof entry.tlog-proof --policy trust.policy --leaf entry
    """
    trust, _ = _policy(policy)
    entry = read_file(leaf, MAX_ENTRY_BYTES)
    raw = read_file(proof, MAX_PROOF_BYTES)
    try:
        found = parse_proof(raw)
    except LogError as error:
        raise _unreadable(error) from error
    try:
        signed = found.verify(leaf_hash(entry), trust, every_key=False)
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


def _show(audited: Audited, trust: Policy, *, as_json: bool) -> None:
    findings, checkpoint = audited.findings, audited.checkpoint
    if as_json:
        lines = [
            {"check": line.check, "outcome": line.outcome, "detail": line.detail}
            for line in findings.lines
        ]
        screen.as_json(
            "audit-verify",
            ok=findings.exit is Exit.PASS,
            exit=int(findings.exit),
            checks=lines,
            origin=None if checkpoint is None else checkpoint.origin,
            size=None if checkpoint is None else checkpoint.size,
            root=None if checkpoint is None else checkpoint.root.hex(),
            kinds=dict(audited.kinds),
            first=_moment(audited.first_s),
            last=_moment(audited.last_s),
        )
        return
    for line in findings.lines:
        screen.line(f"{line.outcome:4} {line.check}: {line.detail}")
    if checkpoint is None or audited.signed is None:
        return
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(audited.kinds.items()))
    rows = [
        (say("log-origin", "log"), checkpoint.origin),
        (say("log-size", "leaves"), str(checkpoint.size)),
        (say("log-root", "root"), checkpoint.root.hex()),
        (say("log-kinds", "kinds"), kinds or "-"),
        (say("log-from", "from"), _moment(audited.first_s) or "-"),
        (say("log-to", "to"), _moment(audited.last_s) or "-"),
        (
            say("log-witnesses", "witnesses"),
            f"{len(audited.signed.cosigned)} / {len(trust.witnesses)}",
        ),
    ]
    screen.table(("", ""), rows)
    screen.line(
        say(
            "not-proven",
            "This does not prove: that a gateway logged all that it decided; that contents are"
            " true; that fewer witnesses than the quorum stand together against you; anything after"
            " this checkpoint.",
        )
    )


def _keep(audited: Audited, evidence: Path | None) -> None:
    """Write both sides of each fork out, if the auditor said where."""
    if evidence is None or not audited.forks:
        return
    try:
        evidence.mkdir(parents=True, exist_ok=True)
        for number, (_, newest, other) in enumerate(audited.forks, start=1):
            (evidence / f"fork-{number}-newest").write_bytes(newest)
            (evidence / f"fork-{number}-other").write_bytes(other)
    except OSError as error:
        raise BrokerError("bad-file", f"{evidence} cannot be written") from error


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


def _policy(path: Path) -> tuple[Policy, bytes]:
    raw = read_file(path, MAX_POLICY_BYTES)
    try:
        return parse_policy(raw), raw
    except LogError as error:
        raise _unreadable(error) from error


def _gateways(path: Path) -> tuple[VerifyKey, ...]:
    try:
        keys = [parse_vkey(line) for line in read_file(path, MAX_POLICY_BYTES).decode().split()]
    except (LogError, UnicodeDecodeError) as error:
        raise _unreadable(BrokerError("bad-vkey", f"{path}: {error}")) from None
    return tuple(VerifyKey(key.public) for key in keys if key.type is SignatureType.ED25519)


def _unreadable(error: BrokerError) -> typer.Exit:
    screen.line(f"FAIL {error} [{error.code}]")
    return typer.Exit(Exit.UNREADABLE)


def _moment(time_s: int | None) -> str | None:
    if time_s is None:
        return None
    try:
        return datetime.fromtimestamp(time_s, tz=UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(time_s)
