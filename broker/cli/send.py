"""`kentong send`: from a file, a template or the form to a result for each recipient."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from broker import clock
from broker.cli import progress, screen
from broker.cli.desk import AsJSON, ask, client, exit_for
from broker.cli.desk import show_submission as show
from broker.cli.exits import EXIT_MISUSE, EXIT_REFUSED
from broker.cli.form import HELP, AnswerError, Draft, Form
from broker.cli.questions import fields_of, questions
from broker.cli.requests import read_request, request_of, template
from broker.cli.text import country, say
from broker.cli.words import advice_line, reason, status_word
from broker.cli.words import clock as clock_text
from broker.client import Client, NotAccepted, Profile, Profiles, Submission, Undecided
from broker.errors import BrokerError
from broker.settings import home
from schemas.attachment import MAX_ATTACHMENTS
from schemas.desk import AttachedFile, DraftRequest, Preview
from schemas.vocabulary import TLP, Precedence, Purpose, Status

MAX_TRIES = 5  # of one answer, before the form gives up and keeps the draft


def command(
    file: Annotated[
        Path | None, typer.Argument(help="JSON or YAML; without it you are asked.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Recipient, instead of the file's; repeat.")
    ] = None,
    status: Annotated[
        Status | None, typer.Option(help="Instead of the file's.", show_default=False)
    ] = None,
    tlp: Annotated[
        TLP | None, typer.Option(help="Instead of the file's.", show_default=False)
    ] = None,
    purpose: Annotated[
        list[Purpose] | None, typer.Option(help="Instead of the file's; repeat.")
    ] = None,
    precedence: Annotated[
        Precedence | None, typer.Option(help="Instead of the file's.", show_default=False)
    ] = None,
    original: Annotated[
        Path | None, typer.Option(help="Document that travels with it, byte for byte.")
    ] = None,
    without_original: Annotated[
        bool, typer.Option("--without-original", help="Send only the document's hash.")
    ] = False,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", help="File, to 1 GiB, that follows it; repeat.")
    ] = None,
    template_type: Annotated[
        str, typer.Option("--template", help="Print a file to fill in: cyber, drugs, trafficking.")
    ] = "",
    wait: Annotated[int, typer.Option(min=0, help="Wait so many seconds for the decision.")] = 15,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing before sending.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Send an alert.

    Without a file, at most eight questions are asked; each answer is saved at once.

    Examples:
      kentong send
      kentong send --template cyber > alert.yaml
      kentong send alert.yaml --to MY --to VN
      kentong send alert.yaml --attach film.mp4
    """
    if template_type:
        typer.echo(template(template_type, clock.now().date()))
        return
    profile = Profiles.load().get()
    draft: Draft | None = None
    if file is not None:
        fields = read_request(file)
    else:
        draft = Draft(new_draft_path())
        fields = filled_in(draft, profile)
    go(
        fields,
        profile,
        changes={
            "to": to,
            "status": status,
            "tlp": tlp,
            "purposes": purpose,
            "precedence": precedence,
            "without_original": without_original or None,
        },
        original=original,
        attach=attach or (),
        wait=wait,
        yes=yes,
        as_json=as_json,
        draft=draft,
    )


def new_draft_path() -> Path:
    """Return where a new draft is kept."""
    return home() / "drafts" / f"{clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}.json"


def filled_in(draft: Draft, profile: Profile) -> dict[str, Any]:
    """Ask what is still to be answered, and return the request's fields.

    Raises:
        BrokerError: `no-terminal`, or `too-many-tries`; the draft is kept.
    """
    if not sys.stdin.isatty():
        raise BrokerError("no-terminal", "name a file, or sit at a terminal: kentong send FILE")
    form = Form(questions(profile), draft)
    tries = 0
    screen.line(say("form-keys", "? explains, < goes back, every answer is saved."))
    while (question := form.current()) is not None:
        number, count = form.number
        screen.line(f"[{number}/{count}] {question.words}", bold=True)
        for place, choice in enumerate(question.choices, 1):
            screen.line(f"  {place:>2} {choice.code:<18} {choice.words}")
        hint = f" [{question.default}]" if question.default else ""
        typed = typer.prompt(f">{hint}", default="", show_default=False, prompt_suffix=" ")
        if typed.strip() == HELP:
            screen.line(question.help)
            continue
        try:
            form.answer(typed)
            tries = 0
        except AnswerError as error:
            screen.line(str(error))
            tries += 1
            if tries >= MAX_TRIES:
                raise BrokerError(
                    "too-many-tries", f"the draft is kept: kentong draft resume {draft.path.stem}"
                ) from None
    reference = f"DESK/{draft.path.stem.upper()}"
    return fields_of(form.answers, profile, today=clock.now().date(), reference=reference)


def go(
    fields: dict[str, Any],
    profile: Profile,
    *,
    changes: dict[str, Any],
    original: Path | None,
    wait: int,
    yes: bool,
    as_json: bool,
    draft: Draft | None = None,
    attach: Sequence[Path] = (),
) -> None:
    """Preview, confirm, send, wait, and say how it stands; leaves with the exit code.

    A draft is forgotten as soon as the node has queued it, however the rest goes: resumed again,
    it would say the same twice.

    Raises:
        BrokerError: Nothing was sent.
    """
    given = {name: value for name, value in changes.items() if value}
    if "to" in given:
        fields.pop("recipients", None)
    request = request_of({**fields, **given}, profile, original=original)
    quiet = yes or as_json
    submission = ask(_send(request, attach, quiet=quiet, yes=yes, wait=wait, draft=draft))
    shown = submission.shown
    if as_json:
        screen.as_json(
            "submission",
            ok=exit_for(shown) == 0,
            submission=shown.model_dump(mode="json"),
        )
    else:
        show(shown)
        screen.line(say("next-status", "Next: kentong status {id}", id=shown.submission_id))
    if code := exit_for(shown):
        raise typer.Exit(code)


async def _send(
    request: DraftRequest,
    attach: Sequence[Path],
    *,
    quiet: bool,
    yes: bool,
    wait: int,
    draft: Draft | None,
) -> Submission:
    async with client() as desk:
        # The preview names the files; they are handed over once the officer has agreed.
        files = [await desk.describe(path) for path in attach]
        preview = await desk.preview(_with(request, files))
        _confirm(preview, files, quiet=quiet, yes=yes)
        files = [await _handed(desk, path) for path in attach]
        submission = await desk.send(_with(request, files))
        if draft is not None:
            draft.forget()
        if wait:
            await _wait(submission, wait)
        return submission


def _with(request: DraftRequest, files: Sequence[AttachedFile]) -> DraftRequest:
    """Return the request with these files.

    Raises:
        BrokerError: `too-many-attachments`.
    """
    if len(files) > MAX_ATTACHMENTS:
        text = f"{len(files)} files are named, at most {MAX_ATTACHMENTS} go with an alert"
        raise BrokerError("too-many-attachments", text)
    return request.model_copy(update={"attachments": tuple(files)}) if files else request


async def _handed(desk: Client, path: Path) -> AttachedFile:
    with progress.shown(path.name) as tell:
        return await desk.attach(path, progress=tell)


async def _wait(submission: Submission, wait: int) -> None:
    try:
        await submission.wait("accepted", timeout_s=wait)
    except (NotAccepted, Undecided):
        await submission.refresh()


def _confirm(preview: Preview, files: Sequence[AttachedFile], *, quiet: bool, yes: bool) -> None:
    """Show who would get it; ask, unless told not to.

    Raises:
        typer.Exit: The officer said no, or cannot be asked.
    """
    permitted = [each.recipient for each in preview.recipients if each.permitted]
    if not quiet:
        show_preview(preview, files)
    if not permitted:
        refused = "; ".join(f"{r.recipient}: {r.rule or r.code}" for r in preview.recipients)
        raise BrokerError("nobody-permitted", f"policy permits no recipient: {refused}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise BrokerError("not-confirmed", "nobody can be asked here: add --yes")
    for equal in preview.equal_alerts[:1]:
        question = say(
            "ask-equal",
            "An equal alert was sent at {time}. Send it again?",
            time=clock_text(equal.queued_at),
        )
        if not typer.confirm(question):
            raise typer.Exit(EXIT_REFUSED)
    if preview.exercise:
        if not typer.confirm(say("ask-send", "Send?"), default=True):
            raise typer.Exit(EXIT_REFUSED)
        return
    asked = say("ask-count", "This is real. To send, type the number of recipients")
    if typer.prompt(asked, default="") != str(len(permitted)):
        screen.line(say("not-sent", "Not sent."))
        raise typer.Exit(EXIT_MISUSE)


def show_preview(preview: Preview, files: Sequence[AttachedFile] = ()) -> None:
    """Print the last screen before sending."""
    screen.line()
    screen.line(status_word(preview.status), bold=True)
    screen.table(
        (say("head-recipient", "recipient"), say("head-may", "may get it"), ""),
        [
            (
                f"{country(each.recipient)} ({each.recipient})",
                say("yes", "yes") if each.permitted else say("no", "NO"),
                "" if each.permitted else each.rule or reason(each.code),
            )
            for each in preview.recipients
        ],
    )
    for advice in preview.warnings:
        screen.line(f"! {advice_line(advice)}")
    for number, each in enumerate(files, 1):
        named = f"{number}  {each.name}, {progress.size(each.bytes)}"
        screen.pairs([(say("field-attachment", "attachment"), named)])
