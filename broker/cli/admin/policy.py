"""`kentong policy`: checks a policy, and says what would happen if."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import propose_own, read_file
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.policy import Verdict, compile_policies
from broker.policy.evaluate import Policies, compile_documents
from broker.settings import home
from keys.directory import layout
from keys.directory.source import PublishedDirectory
from keys.directory.view import DirectoryView
from schemas.errors import SchemaError
from schemas.label import Classification, Facts, Intent, Retention, Sender
from schemas.policy import MAX_POLICY_BYTES, PolicyDocument, parse_policy
from schemas.vocabulary import (
    ASEAN,
    TLP,
    Handling,
    JudicialUse,
    Kind,
    Level,
    Precedence,
    Purpose,
    Status,
)

app = typer.Typer(no_args_is_help=True)
_ASEAN_GROUP = {"asean": frozenset(ASEAN)}


@app.callback()
def policy() -> None:
    """Check and explain policies."""


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Policies, TOML.")],
    as_json: AsJSON = False,
) -> None:
    """Say whether each file is a policy; ends with 1 if one is not.

    Example: kentong policy check deploy/policies/*.toml
    """
    found: list[tuple[str, str]] = []
    for path in files:
        try:
            document = _read(path)
        except (SchemaError, BrokerError) as error:
            found.append((str(path), str(error)))
        else:
            whose = document.member or say("agreement", "regional agreement")
            found.append((str(path), f"ok: {whose}, {len(document.rule)} rules"))
    bad = [path for path, text in found if not text.startswith("ok")]
    if as_json:
        files_shown = [{"file": path, "finding": text} for path, text in found]
        screen.as_json("policy-check", ok=not bad, files=files_shown)
    else:
        screen.table((say("head-file", "file"), say("head-finding", "finding")), found)
    if bad:
        raise typer.Exit(1)


@app.command()
def explain(
    sender: Annotated[str, typer.Option("--from", help="Member that sends.")],
    to: Annotated[list[str], typer.Option("--to", help="Recipient; repeat.")],
    alert_type: Annotated[str, typer.Option("--type", help="For example cyber.")],
    policies: Annotated[
        Path | None,
        typer.Option(help="Folder of CC.toml and agreement.toml; else the hub's directory here."),
    ] = None,
    status: Annotated[Status, typer.Option(help="actual, exercise or test.")] = Status.ACTUAL,
    tlp: Annotated[TLP, typer.Option(help="Traffic Light Protocol.")] = TLP.AMBER,
    purpose: Annotated[list[Purpose] | None, typer.Option(help="Repeat.")] = None,
    handling: Annotated[list[Handling] | None, typer.Option(help="Repeat.")] = None,
    level: Annotated[Level, typer.Option(help="Classification.")] = Level.NONE,
    fact: Annotated[
        list[str] | None, typer.Option(help="personal_data, victim, minor, biometrics; repeat.")
    ] = None,
    agency: Annotated[str, typer.Option(help="That sends.")] = "POLICE",
    as_json: AsJSON = False,
) -> None:
    """Say who would receive such an alert, and which rule decides; ends with 1 if nobody.

    Example: kentong policy explain --policies deploy/policies --from SG --to TH --type cyber
      --fact personal_data
    """
    unknown = set(fact or ()) - set(Facts.model_fields)
    if unknown:
        raise BrokerError("unknown-fact", f"there is no fact {min(unknown)}")
    now = clock.now()
    until = now + timedelta(days=30)
    intent = Intent(
        alert_id=UUID(int=0),
        rev=1,
        kind=Kind.ALERT,
        type=alert_type,
        type_version=1,
        sender=Sender(member=sender, agency=agency),
        status=status,
        precedence=Precedence.ROUTINE,
        tlp=tlp,
        handling=tuple(handling or ()),
        classification=Classification(level=level),
        no_third_party=True,
        orcon=False,
        purposes=tuple(purpose or (Purpose.WARN,)),
        judicial_use=JudicialUse.WITH_CONSENT,
        expires=until,
        retention=Retention(review_by=until, delete_by=until),
        facts=Facts(**{name: name in (fact or ()) for name in Facts.model_fields}),
        disclose_recipients=False,
    )
    compiled = _folder(policies) if policies is not None else _published(now)
    verdicts = compiled.evaluate(intent, to)
    _show(verdicts, as_json=as_json)
    if not any(verdict.permitted for verdict in verdicts.values()):
        raise typer.Exit(1)


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The member's new policy, TOML.")],
    out: Annotated[Path, typer.Option(help="Where to write the signed change.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a signed change that puts a member's policy into the directory.

    Example: kentong policy sign SG.toml --out new-policy.json
    """
    document = _read(file)
    if document.member is None:
        raise BrokerError(
            "agreement", "the agreement needs the threshold: kentong directory propose --agreement"
        )
    path = layout.member_files(document.member)[1]
    raw = read_file(file, MAX_POLICY_BYTES)
    propose_own(document.member, {path: raw}, passphrase(passphrase_file), out)
    screen.line(say("publish-next", "Next, at the hub: kentong directory publish {out}", out=out))


def _show(verdicts: dict[str, Verdict], *, as_json: bool) -> None:
    if as_json:
        shown = [
            {"recipient": code, "permitted": v.permitted, "code": v.code, "rule": v.rule}
            for code, v in verdicts.items()
        ]
        screen.as_json("policy-explain", verdicts=shown)
        return
    screen.table(
        (say("head-recipient", "recipient"), "", say("head-rule", "rule")),
        [
            (code, say("yes", "yes") if v.permitted else say("no", "NO"), v.rule)
            for code, v in verdicts.items()
        ],
    )


def _folder(folder: Path) -> Policies:
    """Return the policies of a folder; its members make up the group of states."""
    documents = {
        path.stem: _read(path) for path in sorted(folder.glob("*.toml")) if path.stem != "agreement"
    }
    return compile_documents(documents, _read(folder / "agreement.toml"), _ASEAN_GROUP)


def _published(now: datetime) -> Policies:
    view: DirectoryView = PublishedDirectory.at(home()).view()
    view.check_fresh(now.astimezone(UTC))
    return compile_policies(view)


def _read(path: Path) -> PolicyDocument:
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be read") from error
