"""`kentong evidence`: one file that proves an alert's label, verdict and time to a third party."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select
from typer.core import TyperGroup
from typing_extensions import override

from broker.audit.evidence import MAX_EVIDENCE_BYTES, Evidence, Proved, parse_evidence
from broker.audit.evidence import verify_evidence as check_evidence
from broker.audit.findings import Exit
from broker.cli import screen
from broker.cli.admin.audit_output import unreadable
from broker.cli.admin.changes import read_file
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.envelope.delivered import parse_delivered
from broker.envelope.disclosure import Disclosure, Shown, disclose
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.log.policyfile import parse_policy
from broker.log.proof import InclusionProof
from broker.node.logstate import copied_of
from broker.node.proofs import first_proof, leaf_at, proof_path
from broker.settings import home
from broker.store import tables
from broker.store.tilefiles import TileFiles
from keys.directory.client import DirectoryClient
from keys.errors import KeysError
from keys.home import Home
from keys.identity import MemberIdentity

MAX_POLICY_BYTES = 1_000_000
MAX_ROOT_BYTES = 1_000_000


class _Group(TyperGroup):
    """Takes `kentong evidence ID` for `kentong evidence make ID`."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["make", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=_Group)


@app.callback()
def evidence() -> None:
    """Prove an alert to a third party: kentong evidence ID --out FILE, and verify FILE."""


@app.command()
def make(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Envelope id, as status shows it.")],
    out: Annotated[Path, typer.Option(help="File to write; it must not be there yet.")],
    content: Annotated[
        bool, typer.Option("--content", help="Also show what the alert says. A recipient can.")
    ] = False,
    early: Annotated[
        bool,
        typer.Option("--early", help="By the first checkpoint that proved it, not the newest."),
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write one file that proves who sent what label to whom, when, and the verdict.

    Run it where the node's home folder is. What the alert says stays sealed in it, unless a
    recipient adds --content: that gives away the key of this one envelope, and of no other. If a
    key behind it was stolen since, --early shows that it was in the log before.

    Example: kentong evidence 0198b2f4-7a31-7c11-8f00-3d5e6a7b8c9d --out alert.evidence
    """
    made = asyncio.run(_made(ident, early=early))
    if content:
        made = replace(made, disclosure=_disclosed(made.envelope, passphrase_file))
    try:
        with out.open("xb") as file:
            file.write(made.to_bytes())
    except FileExistsError:
        raise BrokerError("exists", f"{out} is there already; choose another name") from None
    except OSError as error:
        raise BrokerError("cannot-write", f"{out} cannot be written") from error
    if as_json:
        screen.as_json("evidence-made", file=str(out))
        return
    screen.line(say("evidence-made", "{file} proves it: kentong evidence verify {file}", file=out))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Evidence file.")],
    policy: Annotated[Path, typer.Option(help="Your own trust: log and witness keys, quorum.")],
    root: Annotated[
        Path | None,
        typer.Option(help="The region's first root; by default the one this home trusts."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Verify an evidence file, offline, by your own trust.

    Ends with 0 if all of it holds, 1 if not, 2 if a file cannot be read, 3 without a quorum.

    Example: kentong evidence verify alert.evidence --policy trust.policy --root root.json
    """
    try:
        trusted = parse_policy(read_file(policy, MAX_POLICY_BYTES))
        pinned = Home(home()).pinned_root() if root is None else read_file(root, MAX_ROOT_BYTES)
        found = parse_evidence(read_file(file, MAX_EVIDENCE_BYTES))
    except (BrokerError, KeysError) as error:
        raise unreadable(error, "evidence-verify", as_json=as_json, err=True) from None
    proved = check_evidence(found, trusted, pinned_root=pinned)
    if as_json:
        _as_json(proved)
    else:
        _show(proved)
    raise typer.Exit(proved.findings.exit)


def _disclosed(envelope: bytes, passphrase_file: Path | None) -> Disclosure:
    """Return the key of the envelope, which the node's own private keys open.

    Raises:
        BrokerError: `not-a-recipient`, or the keys of that month are destroyed already.
    """
    try:
        delivered = parse_delivered(envelope)
    except EnvelopeError:
        raise BrokerError("not-a-recipient", "only a recipient can show what it says") from None
    identity = MemberIdentity.load(Home(home()).node_keys, passphrase(passphrase_file))
    return disclose(delivered, identity.member, identity.open_keys)


async def _made(ident: str, *, early: bool) -> Evidence:
    place = NodePlace(home())
    directory = DirectoryClient(
        Home(home()).node_directory, pinned_root=Home(home()).pinned_root()
    ).load()
    if directory is None or directory.view.hub.log is None:
        raise BrokerError("no-log", "the directory here names no log")
    origin = directory.view.hub.log.origin
    table = tables.proofs
    async with place.database() as database, database.read() as connection:
        row = (
            await connection.execute(
                select(table)
                .where(table.c.id == ident, table.c.envelope != b"")
                .order_by(table.c.number.is_(None))  # decided twice, by a hub that lost the first
            )
        ).first()
        copied = await copied_of(connection, origin)
        kept = None
        if early and row is not None and row.number is not None:
            kept = await first_proof(connection, row.size, row.path)
    if row is None:
        raise BrokerError("not-found", "no decided alert has this id here")
    if row.number is None or row.number >= copied.proven:
        raise BrokerError("not-proven", "the log does not prove it yet; try again in a minute")
    files = TileFiles(place.folder / "log")
    number = int(row.number)
    if early and kept is None:
        raise BrokerError("not-found", "the checkpoint that proved it first was not kept")
    hashes, note = kept or (proof_path(files, number, copied), copied.note)
    proof = InclusionProof(number, hashes, note)
    return Evidence(
        envelope=row.envelope,
        decision=row.decision,
        leaf=leaf_at(files, number, copied),
        proof=proof.to_bytes(),
        directory=directory.bundle.to_bytes(),
    )


def _facts(proved: Proved) -> dict[str, Any]:
    frame, decision, signed = proved.frame, proved.decision, proved.signed
    facts: dict[str, Any] = {}
    if frame is not None:
        label = frame.label
        facts |= {
            "id": str(label.id),
            "sender": label.sender.member,
            "type": label.type,
            "status": str(label.status),
            "created": label.created.isoformat(),
        }
    if decision is not None:
        facts["decided_at"] = decision.header.decided_at.isoformat()
        facts["code"] = decision.header.code
        facts["verdicts"] = [
            {
                "recipient": record.recipient,
                "accepted": record.accepted,
                "code": record.code,
                "rule": record.rule,
            }
            for record in decision.records
        ]
    if signed is not None:
        facts["log"] = signed.checkpoint.origin
        facts["size"] = signed.checkpoint.size
        facts["cosigned"] = {name.decode(): at for name, at in sorted(signed.cosigned.items())}
    return facts


def _as_json(proved: Proved) -> None:
    checks = [
        {"check": line.check, "outcome": str(line.outcome), "detail": line.detail}
        for line in proved.findings.lines
    ]
    ok = proved.findings.exit is Exit.PASS
    shown = proved.shown if ok else None
    extra = {} if shown is None else {"content": _content(shown)}
    screen.as_json(
        "evidence-verify",
        ok=ok,
        exit=int(proved.findings.exit),
        checks=checks,
        proves=_facts(proved) if ok else {},
        **extra,
    )


def _content(shown: Shown) -> dict[str, Any]:
    alert = None if shown.alert is None else shown.alert.model_dump(mode="json", exclude_none=True)
    return {"officer": shown.officer.id, "alert": alert}


def _show(proved: Proved) -> None:
    for line in proved.findings.lines:
        screen.line(f"{line.outcome} {line.check}: {line.detail}")
    if proved.findings.exit is not Exit.PASS:
        return
    facts = _facts(proved)
    for name in ("id", "sender", "type", "status", "created", "decided_at", "log", "size"):
        screen.line(f"{name}: {facts[name]}")
    for verdict in facts["verdicts"]:
        word = say("accepted", "ACCEPTED") if verdict["accepted"] else say("refused", "REFUSED")
        screen.line(f"{verdict['recipient']}: {word} {verdict['rule']}")
    if proved.shown is not None:
        told = _content(proved.shown)
        screen.line(say("evidence-officer", "signed by officer {name}", name=told["officer"]))
        screen.line(json.dumps(told["alert"], ensure_ascii=False, indent=1))
    for name, at in facts["cosigned"].items():
        screen.line(say("evidence-witness", "cosigned by {name} at {at}", name=name, at=at))
