"""`kentong import`: STIX, MISP and tables into files that `kentong send` takes."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from broker import clock
from broker.cli import screen
from broker.cli.desk import AsJSON
from broker.cli.requests import MAX_FILE_BYTES, SUFFIXES, RequestFileError
from broker.cli.text import phrase, say
from broker.client import Profile, Profiles
from broker.errors import BrokerError
from broker.importers.header import Header
from broker.importers.marking import UNMARKED
from broker.importers.misp import import_misp
from broker.importers.patterns import Patterns, check_patterns
from broker.importers.report import Imported, ImportRefusedError
from broker.importers.stix import import_stix
from broker.importers.table import import_row, read_map, read_rows
from schemas.vocabulary import Purpose, Status

_OFFENCES = {"cyber": "iccs:0903", "drugs": "iccs:0601"}
_NOTES: Final = {
    "white-is-clear": phrase("note-white-is-clear", "TLP WHITE is called CLEAR now."),
    "tlp-unknown": phrase("note-tlp-unknown", "The source has a marking that TLP 2.0 has not."),
    "strictest-taken": phrase("note-strictest", "Of several markings the strictest was taken."),
    "unmarked": phrase(
        "note-unmarked", "Where the source says no TLP, your profile's or AMBER was taken."
    ),
}


def command(
    file: Annotated[Path, typer.Argument(help="A STIX bundle, a MISP event, CSV or JSON rows.")],
    out: Annotated[Path, typer.Option(help="Folder for the alerts; made if missing.")],
    column_map: Annotated[
        Path | None, typer.Option("--map", help="Column map of a table, TOML.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Turn a file into alerts, one file each, to send with `kentong send FILE`.

    Says for every path of the source what was not carried over. Nothing is sent.

    Examples:
      kentong import bundle.json --out alerts
      kentong import seizures.csv --map seizures.toml --out alerts
    """
    raw = _read(file)
    profile = Profiles.load().get()
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BrokerError("cannot-write", f"{out} cannot be made") from error
    made: list[tuple[str, Imported]] = []
    refused: list[tuple[int, str]] = []
    if column_map is None:
        made.append((file.stem, read_document(raw, profile)))
    else:
        columns = read_map(_read(column_map))
        header = _header(profile, columns.type)
        for number, row in enumerate(read_rows(raw), 1):
            try:
                one = import_row(row, columns, header, number=number)
            except ImportRefusedError as error:
                refused.append((number, f"{error} [{error.code}]"))
            else:
                made.append((f"{file.stem}-{number:05}", one))
    for name, imported in made:
        _write(out, name, imported, profile)
    _report(made, refused, out, as_json=as_json)
    if refused or not made:
        raise typer.Exit(1)


def read_document(raw: bytes, profile: Profile) -> Imported:
    """Return the alert made of a STIX bundle or a MISP event.

    Raises:
        ImportRefusedError: Neither of them.
    """
    header = _header(profile, "cyber")
    try:
        return import_stix(raw, header)
    except ImportRefusedError as error:
        if error.code != "not-stix":
            raise
    return import_misp(raw, header)


def _header(profile: Profile, alert_type: str) -> Header:
    if profile.contact is None or not profile.legal_basis:
        raise BrokerError(
            "profile-incomplete",
            "an imported alert needs your contact and legal basis: kentong profile add --contact"
            " ... --legal-basis ...",
        )
    return Header(
        as_of=clock.now().date(),
        contact=profile.contact.model_dump(mode="json", exclude_defaults=True),
        legal_basis=tuple(
            each.model_dump(mode="json", exclude_none=True) for each in profile.legal_basis
        ),
        offences=({"iccs": _OFFENCES.get(alert_type, "iccs:0601")},),
        language=profile.language or "en",
    )


def _write(out: Path, name: str, imported: Imported, profile: Profile) -> None:
    body: dict[str, Any] = imported.alert.model_dump(
        mode="json", exclude_none=True, exclude_defaults=True
    )
    body.pop("original", None)  # named again when the document is given to `send --original`
    alert = {"type": imported.alert.TYPE, "version": imported.alert.VERSION, "body": body}
    text = json.dumps(
        {**_handling(imported, profile), "alert": alert}, ensure_ascii=False, indent=1
    )
    try:
        (out / f"{name}.json").write_text(text, "utf-8")
        (out / _original(name, imported)).write_bytes(imported.original)
    except OSError as error:
        raise BrokerError("cannot-write", f"{out} cannot be written") from error


def _handling(imported: Imported, profile: Profile) -> dict[str, Any]:
    """Return the label's part of the file: as the source is marked, and never ACTUAL by itself."""
    marking = imported.marking
    found: dict[str, Any] = {
        "status": str(profile.status or Status.EXERCISE),
        "tlp": str(marking.tlp or profile.tlp or UNMARKED),
        "purposes": [str(each) for each in profile.purposes or (Purpose.WARN,)],
    }
    return found | ({"pap": str(marking.pap)} if marking.pap else {})


def _original(name: str, imported: Imported) -> str:
    return f"{name}{SUFFIXES[imported.media_type]}"


def _report(
    made: list[tuple[str, Imported]], refused: list[tuple[int, str]], out: Path, *, as_json: bool
) -> None:
    left: dict[str, int] = {}
    for _, imported in made:
        for each in imported.left:
            left[each.path] = left.get(each.path, 0) + each.count
    notes = sorted({note for _, imported in made for note in imported.marking.notes})
    patterns = {name: check_patterns(imported.alert) for name, imported in made}
    if as_json:
        screen.as_json(
            "import",
            ok=not refused and bool(made),
            alerts=[str(out / f"{name}.json") for name, _ in made],
            originals=[str(out / _original(name, imported)) for name, imported in made],
            notes=notes,
            not_carried=left,
            refused=[{"row": number, "reason": reason} for number, reason in refused],
            unreadable_patterns={
                name: list(each.unreadable) for name, each in patterns.items() if each.unreadable
            },
        )
        return
    screen.line(say("imported", "{count} alerts in {out}.", count=len(made), out=out))
    _warn_of(patterns)
    if left:
        screen.line(say("not-carried", "Not carried over (the original travels with the alert):"))
        head = (say("head-where", "where"), say("head-values", "values"))
        screen.table(head, [(path, str(count)) for path, count in left.items()])
    for number, reason in refused:
        screen.line(say("row-refused", "Row {number}: {why}", number=number, why=reason), err=True)
    for note in notes:
        screen.line(f"! {say(*_NOTES[note])}")
    for name, imported in made[:1]:
        file, document = out / f"{name}.json", out / _original(name, imported)
        screen.line(say("import-next", "Look at status, tlp and purposes in the file; then, e.g.:"))
        typer.echo(f"  kentong send {file} --original {document} --to MY")


def _warn_of(patterns: dict[str, Patterns]) -> None:
    for name, each in patterns.items():
        if each.unreadable:
            places = ", ".join(map(str, each.unreadable[:10]))
            text = say(
                "patterns-unreadable",
                "{name}: {count} detection patterns are not valid STIX and may find nothing:"
                " indicators {places}.",
                name=name,
                count=len(each.unreadable),
                places=places,
            )
            screen.line(text)
        if each.unchecked:
            text = say(
                "patterns-unchecked",
                "{name}: {count} detection patterns were too long or too many to check.",
                name=name,
                count=each.unchecked,
            )
            screen.line(text)


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestFileError("bad-file", f"{path} cannot be read") from error
    if len(raw) > MAX_FILE_BYTES:
        raise RequestFileError("bad-file", f"{path} has more than {MAX_FILE_BYTES} bytes")
    return raw
