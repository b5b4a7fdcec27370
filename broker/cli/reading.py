"""How a received alert is shown: what matters first, everything below."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from broker.cli import screen
from broker.cli.notices import warning_words
from broker.cli.progress import size
from broker.cli.text import country, say
from broker.cli.words import clock, reason, status_word
from schemas.desk import ArrivalState, AttachmentShown, InboxItem

_NAMED: Final = 3  # substances of a title


def head() -> Sequence[str]:
    """Return the heads of the inbox's columns."""
    return (
        say("head-position", "position"),
        say("head-received", "received"),
        say("head-from", "from"),
        say("head-what", "what"),
        say("head-title", "title"),
        say("head-id", "id"),
    )


def row(item: InboxItem) -> Sequence[str]:
    """Return an alert as a line of the inbox."""
    marked = "" if not item.exercise else f"[{status_word(item.status)}] "
    return (
        str(item.position),
        clock(item.received_at),
        item.sender,
        f"{item.type} {item.precedence} {item.tlp}".upper(),
        marked + title(item),
        str(item.id),
    )


def title(item: InboxItem) -> str:
    """Return one line that says what an alert is about."""
    alert = item.alert or {}
    if isinstance(found := alert.get("title"), str):
        return found
    if isinstance(kind := alert.get("event_kind"), str):
        return ": ".join([kind, *_substances(alert)])
    found = alert.get("national_ref")
    return found if isinstance(found, str) else item.type


def show(item: InboxItem) -> None:
    """Print a whole alert."""
    screen.line(f"{status_word(item.status)}  TLP {item.tlp.upper()}  {title(item)}", bold=True)
    screen.pairs(
        [
            (say("field-from", "from"), f"{country(item.sender)} ({item.sender}), {item.agency}"),
            (say("field-officer", "signed by"), _officer(item)),
            (say("field-created", "sealed"), clock(item.created)),
            (say("field-received", "received"), clock(item.received_at)),
            (say("field-rule", "let through by"), item.decision.rule),
            (say("field-alert", "alert"), f"{item.alert_id} revision {item.rev}"),
            (say("field-id", "envelope"), str(item.id)),
            (say("field-others", "also sent to"), ", ".join(item.recipients or ())),
            (say("field-warnings", "note"), "; ".join(map(warning_words, item.warnings))),
        ]
    )
    if item.original is not None:
        carried = say("carried", "here") if item.original.carried else say("hash", "hash only")
        name = item.original.name or item.original.media_type
        screen.pairs([(say("field-original", "original"), f"{name}, {carried}")])
    for each in item.attachments:
        screen.pairs([(say("field-attachment", "attachment"), _attachment(each))])
    screen.line()
    if item.alert is None:
        screen.line(say("type-not-read", "This version cannot read alerts of this type."))
        return
    for name, value in _leaves(item.alert, ""):
        screen.pairs([(name, value)])


def _substances(alert: Mapping[str, JsonValue]) -> list[str]:
    """Return the names of the first substances as one text, in a list; none if none is named."""
    listed = alert.get("substances")
    maps = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    codes = [str(each["code"]) for each in maps if each.get("code")]
    more = [f"+{len(codes) - _NAMED}"] if len(codes) > _NAMED else []
    return [", ".join([*codes[:_NAMED], *more])] if codes else []


def _attachment(shown: AttachmentShown) -> str:
    named = f"{shown.number}  {shown.name}, {shown.media_type}, {size(shown.bytes)}"
    return f"{named}: {_arrival(shown)}"


def _arrival(shown: AttachmentShown) -> str:
    why = reason(shown.code) if shown.code else ""
    match shown.state:
        case ArrivalState.COMPLETE:
            return say("attachment-here", "here")
        case ArrivalState.EXPIRED:
            return say("attachment-expired", "expired before it was here")
        case ArrivalState.REFUSED:
            return say("attachment-refused", "REFUSED: {why}", why=why)
        case ArrivalState.ARRIVING:
            text = say(
                "attachment-arriving",
                "attachment arriving {have} of {chunks}",
                have=shown.have,
                chunks=shown.chunks,
            )
            return f"{text} ({why})" if why else text


def _officer(item: InboxItem) -> str:
    return f"{item.officer.pseudonym} ({', '.join(item.officer.roles)})"


def _leaves(value: JsonValue, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _leaves(inner, f"{path}[{number}]")
    elif value is not None and value != "":
        yield path, str(value)
