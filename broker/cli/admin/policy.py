"""`kentong policy`: checks a policy, and says what would happen if."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from broker import clock
from broker.cli import screen
from broker.cli.admin.changes import base, propose_own, read_file
from broker.cli.admin.secret import PassphraseFile, answers
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.policy import Policies, Verdict
from broker.policy.question import MAX_CASES_BYTES, Question, parse_cases
from broker.policy.replay import MAX_LABELS_BYTES, Documents, changes, received_in
from broker.settings import home
from keys.directory import layout
from keys.directory.source import PublishedDirectory
from keys.directory.view import DirectoryView
from keys.errors import KeyFileError
from schemas.errors import SchemaError
from schemas.policy import MAX_POLICY_BYTES, PolicyDocument, parse_policy
from schemas.policynames import Names
from schemas.vocabulary import (
    ASEAN,
    TLP,
    Handling,
    Level,
    Purpose,
    Status,
)

PoliciesFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of CC.toml and agreement.toml; else the hub's directory here."),
]
app = typer.Typer(no_args_is_help=True)
_GROUPS = {"asean": frozenset(ASEAN), "partners": frozenset[str]()}


@app.callback()
def policy() -> None:
    """Check and explain policies."""


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Policies, TOML.")],
    policies: PoliciesFolder = None,
    as_json: AsJSON = False,
) -> None:
    """Say whether each file is a policy; ends with 1 if one is not.

    A member or group that a rule names must stand in the directory here or in the folder given;
    where there is neither, be a state of the region, or the member of one of the files.

    Example: kentong policy check deploy/policies/*.toml
    """
    found: list[tuple[str, str]] = []
    names = _names_for(files, policies)
    for path in files:
        try:
            document = _read(path, names)
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
    policies: PoliciesFolder = None,
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
    try:
        question = Question.model_validate(
            {
                "from": sender,
                "to": tuple(to),
                "type": alert_type,
                "status": status,
                "tlp": tlp,
                "purposes": tuple(purpose or (Purpose.WARN,)),
                "handling": tuple(handling or ()),
                "classification": level,
                "facts": tuple(fact or ()),
                "agency": agency,
            }
        )
    except ValidationError as error:
        raise BrokerError("bad-question", _first(error)) from None
    now = clock.now()
    compiled = _folder(policies) if policies is not None else _published(now)
    verdicts = question.ask(compiled, now=now)
    _show(verdicts, as_json=as_json)
    if not any(verdict.permitted for verdict in verdicts.values()):
        raise typer.Exit(1)


@app.command("test")
def ask_cases(
    files: Annotated[list[Path], typer.Argument(help="Files of cases, TOML.")],
    policies: PoliciesFolder = None,
    as_json: AsJSON = False,
) -> None:
    """Ask every case of the files and say which do not hold; ends with 1 if one does not.

    A case is a [[case]] table: name, from, to, type, expect = "permit" or "refuse", and where it
    matters status, tlp, purposes, handling, classification, facts, agency, and the rule that must
    decide.

    Example: kentong policy test --policies deploy/policies deploy/policies/cases/region.toml
    """
    now = clock.now()
    compiled = _folder(policies) if policies is not None else _published(now)
    cases = [case for path in files for case in parse_cases(read_file(path, MAX_CASES_BYTES))]
    failed = [failure for case in cases for failure in case.failures(compiled, now=now)]
    bad = len({failure.case for failure in failed})
    if as_json:
        shown = [
            {
                "case": f.case,
                "recipient": f.recipient,
                "permitted": f.verdict.permitted,
                "code": f.verdict.code,
                "rule": f.verdict.rule,
            }
            for f in failed
        ]
        screen.as_json("policy-test", ok=not failed, cases=len(cases), failed=shown)
    else:
        if failed:
            screen.table(
                (
                    say("head-case", "case"),
                    say("head-recipient", "recipient"),
                    say("head-rule", "rule"),
                ),
                [(f.case, f.recipient, f.verdict.rule) for f in failed],
            )
        screen.line(
            say("cases-held", "{held} of {all} cases hold", held=len(cases) - bad, all=len(cases))
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="The member's proposed policy, TOML.")],
    received: Annotated[Path, typer.Argument(help="What `kentong inbox --json` wrote.")],
    policies: PoliciesFolder = None,
    as_json: AsJSON = False,
) -> None:
    """Ask a proposed policy about every alert that was received, and say what would change.

    Ends with 0 if nothing changes, with 1 otherwise. Nothing is signed or sent.

    Example: kentong inbox --json > received.json; kentong policy replay MY.toml received.json
    """
    proposed = _read(file)
    if proposed.member is None:
        raise BrokerError("agreement", f"{file} is an agreement: give the policy of a member")
    alerts = received_in(read_file(received, MAX_LABELS_BYTES))
    now = clock.now()
    given = _documents(policies) if policies is not None else _published_documents(now)
    _read(file, given.names())
    before = given.compiled()
    after = given.with_policy(proposed.member, proposed).compiled()
    changed = changes(before, after, alerts, recipient=proposed.member)
    if as_json:
        shown = [{"id": str(c.id), "before": c.before.rule, "after": c.after.rule} for c in changed]
        screen.as_json("policy-replay", ok=not changed, alerts=len(alerts), changed=shown)
    else:
        if changed:
            heads = ("id", say("head-before", "before"), say("head-after", "after"))
            screen.table(heads, [(str(c.id), c.before.rule, c.after.rule) for c in changed])
        screen.line(
            say(
                "replayed",
                "{changed} of {all} alerts would be decided otherwise",
                changed=len(changed),
                all=len(alerts),
            )
        )
    if changed:
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
    propose_own(document.member, {path: raw}, answers(passphrase_file), out)
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
    return _documents(folder).compiled()


def _documents(folder: Path) -> Documents:
    """Return the policies of a folder; its states make up the group of states.

    Raises:
        SchemaError: One is none, or names a member that has no file there.
    """
    paths = {p.stem: p for p in sorted(folder.glob("*.toml")) if p.stem != "agreement"}
    names = Names.of(paths, ())
    documents = {code: _read(path, names) for code, path in paths.items()}
    return Documents(documents, _read(folder / "agreement.toml", names), _GROUPS)


def _names_for(files: list[Path], folder: Path | None) -> Names:
    """Return whom policies may name: by the folder, else the directory here, else the files."""
    if folder is not None:
        return Names.of((path.stem for path in folder.glob("*.toml")), ())
    try:
        return Names.of_region(base().content.region)
    except (BrokerError, KeyFileError):  # a ministry that drafts has no directory yet
        return Names.of((path.stem for path in files), ())


def _published_documents(now: datetime) -> Documents:
    view: DirectoryView = PublishedDirectory.at(home()).view()
    view.check_fresh(now.astimezone(UTC))
    members = {code: member.policy for code, member in view.member_views.items()}
    groups = dict.fromkeys(view.names().groups, frozenset[str]()) | dict(view.groups())
    return Documents(members, view.agreement, groups)


def _published(now: datetime) -> Policies:
    return _published_documents(now).compiled()


def _read(path: Path, names: Names | None = None) -> PolicyDocument:
    raw = read_file(path, MAX_POLICY_BYTES)
    document = parse_policy(raw)
    if names is not None:
        names.check(document, raw)
    return document


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{first['loc'][0]}: {first['msg']}"
