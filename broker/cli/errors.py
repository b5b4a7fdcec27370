"""What a command says when it fails: a sentence for each code, and the exit code for a script.

The English sentence of an error names the field or the file; another language has one sentence for
each code, and the English one stands behind it for whoever is called. A test reads the codes out of
the source: a new one without words fails it.
"""

from typing import Final, TypeAlias

from broker.cli.exits import EXIT_FAULT, EXIT_MISUSE, EXIT_REFUSED, EXIT_UNREACHABLE
from broker.cli.reasons import REASONS
from broker.cli.text import phrase, say
from broker.client import LocalError
from broker.errors import BrokerError
from keys.errors import KeysError
from schemas.errors import SchemaError

AnyError: TypeAlias = BrokerError | KeysError | SchemaError

_FAULTS: Final = frozenset({"disk-full"})
_FAULT_OF_DATABASE: Final = "database-"
_MISUSE: Final = frozenset(
    {"bad-file", "bad-id", "bad-profile", "bad-request", "no-terminal", "not-confirmed"}
)

_TYPED: Final = (
    phrase("error-alarms", "the node raised alarms; see kentong status"),
    phrase("error-bad-file", "a file cannot be read, or is not what it should be"),
    phrase("error-bad-id", "this is no id; copy one from kentong outbox or kentong inbox"),
    phrase("error-bad-request", "a field of the alert is missing or wrong"),
    phrase("error-no-terminal", "nobody can be asked here; name a file"),
    phrase("error-not-confirmed", "nobody can be asked here; add --yes"),
    phrase("error-too-many-tries", "too many wrong answers; the draft is kept"),
    phrase("error-no-draft", "there is no such draft; see kentong draft list"),
    phrase("error-unknown-type", "this type of alert is not known here"),
    phrase("error-exists", "the file is there already; choose another name"),
    phrase("error-cannot-write", "a file or folder cannot be written"),
)
_SENDING: Final = (
    phrase("error-nobody-permitted", "the rules permit no recipient"),
    phrase("error-expired", "the alert's time has passed"),
    phrase("error-draft-differs", "the node changed the alert; nothing was signed"),
    phrase("error-draft-used", "this draft was sent before"),
    phrase("error-already-submitted", "it was handed to the hub already"),
    phrase("error-no-attention-needed", "it does not wait for you"),
    phrase("error-outcome-unknown", "it may be queued or not; look at kentong outbox"),
    phrase("error-cancelled", "it was cancelled"),
    phrase("error-none-accepted", "no recipient's copy was accepted"),
    phrase("error-not-delivered", "no accepted copy reached its recipient"),
    phrase("error-needs-attention", "a person must look at it"),
    phrase("error-undecided", "not all is known yet"),
    phrase("error-idempotency-reused", "this number was used for another alert"),
    phrase("error-officer-key-missing", "it is not said which officer signs"),
)
_DESK: Final = (
    phrase("error-no-profile", "no profile is chosen; see kentong profile add"),
    phrase("error-unknown-profile", "there is no such profile; see kentong profile list"),
    phrase("error-bad-profile", "the profile is not valid"),
    phrase("error-profile-incomplete", "the profile needs your contact and legal basis"),
    phrase("error-no-token", "the profile has no token; call your administrator"),
    phrase("error-no-officer-key", "the profile names no officer's key"),
    phrase("error-no-passphrase", "the passphrase of the officer's key is missing"),
    phrase("error-bad-ca-file", "the file of authorities cannot be read"),
    phrase("error-no-home", "the home folder cannot be used"),
    phrase("error-package-overwritten", "another package stands in the place of this one"),
)
_NODE: Final = (
    phrase("error-unreachable", "the node does not answer; call your administrator"),
    phrase("error-bad-answer", "what answered is no node of this version"),
    phrase("error-files-waiting", "attached files wait to be sent; let the node send them first"),
    phrase("error-not-found", "the node knows nothing under this id"),
    phrase("error-bad-token", "the node does not know your token; call your administrator"),
    phrase("error-too-many-requests", "too many requests at once; try again"),
    phrase("error-scope-missing", "your token does not permit this; call your administrator"),
    phrase("error-type-not-allowed", "your token does not permit this type of alert"),
    phrase("error-too-many-streams", "too many readers at once; end one of them"),
    phrase("error-body-too-large", "the alert is too large"),
    phrase("error-body-too-slow", "the line was too slow; try again"),
    phrase("error-beyond-inbox", "the inbox has not got that far"),
    phrase("error-beyond-the-inbox", "the inbox has not got that far"),
    phrase("error-invalid-parameter", "an option has a wrong value"),
    phrase("error-no-place", "a reader needs a place to begin at"),
    phrase("error-disk-full", "the disk of the node is full; call your administrator"),
    phrase("error-database-damaged", "the node's database is damaged; call your administrator"),
    phrase("error-database-locked", "the node's database is in use; try again"),
    phrase("error-database-lost", "the node's database cannot be reached; it goes on by itself"),
    phrase("error-database-in-use", "another process works on the database; end it first"),
    phrase("error-database-conflict", "another process was first; try again"),
    phrase("error-database-failed", "the database refused; call your administrator"),
    phrase("error-database-newer", "the database is of a newer version; start that one"),
    phrase("error-database-unversioned", "the database holds tables of another version"),
    phrase("error-database-of-another", "the database is of another member's node"),
    phrase("error-database-missing", "there is no such database or user; make it"),
    phrase("error-database-refused", "the database does not let this user in"),
    phrase("error-database-not-trusted", "the database's certificate is not what it should be"),
    phrase("error-database-not-encrypted", "a database elsewhere needs a checked certificate"),
    phrase("error-database-password", "the database's password belongs into a file"),
    phrase("error-database-environment", "variables say what the database's URL should"),
    phrase("error-database-driver", "the driver of PostgreSQL is not installed"),
    phrase("error-database-url", "this is no URL of a database"),
    phrase("error-unknown-code", "a code is not in its list"),
)
_IMPORTING: Final = (
    phrase("error-not-stix", "the file is no STIX bundle"),
    phrase("error-not-misp", "the file is no MISP event"),
    phrase("error-not-json", "the file is not JSON"),
    phrase("error-not-a-table", "the file is no table"),
    phrase("error-not-valid", "no alert can be made of the file"),
    phrase("error-too-deep", "the file is nested too deeply"),
    phrase("error-too-large", "the file is too large"),
    phrase("error-bad-map", "the column map is not valid"),
    phrase("error-missing-cell", "a cell that is needed is empty"),
)

_FILES: Final = (
    phrase("error-attachment-arriving", "the file is still arriving; ask again later"),
    phrase("error-attachment-damaged", "the node's disk changed the file; ask its sender for it"),
    phrase("error-attachment-expired", "the file's time was over before it was here"),
    phrase("error-attachment-incomplete", "an attached file is not whole yet; attach it again"),
    phrase("error-attachment-missing", "the node does not have the file any more; attach it again"),
    phrase("error-attachment-repeated", "a file is attached twice"),
    phrase("error-attachment-too-large", "the file is too large; 1 GiB is the most"),
    phrase(
        "error-attachments-never-fit",
        "the files are more together than the hub ever holds; send them with several alerts",
    ),
    phrase("error-attachment-used", "this file went with another alert; attach it again"),
    phrase("error-beyond-the-end", "the file is not that long"),
    phrase("error-no-such-attachment", "the alert has no such attachment"),
    phrase("error-out-of-order", "another part of the file is awaited; attach it again"),
    phrase("error-too-many-attachments", "eight files go with an alert at most"),
)

_CARRYING: Final = (
    phrase("error-carry-clock-ahead", "the node's clock was ahead; set it, then write another"),
    phrase("error-carry-damaged", "the file was cut short or changed; carry another"),
    phrase("error-carry-full", "the file is full; carry it, then write another"),
    phrase("error-carry-no-directory", "the file brings no directory; the ferry makes another"),
    phrase("error-carry-no-file", "this is no carried file"),
    phrase("error-carry-other-member", "the file is for another member"),
    phrase("error-carry-unsigned", "this node did not write the file; nothing was used"),
    phrase("error-carry-wrong-way", "the file goes the other way"),
    phrase("error-ferry-expired", "the ferry's time is over; the node makes another"),
    phrase("error-no-ferry", "there is no ferry in this folder"),
    phrase("error-backup-damaged", "the backup is not whole, or of another form"),
    phrase("error-backup-elsewhere", "the database is not SQLite; use its own means too"),
    phrase("error-node-runs", "the node has a link of its own; stop it first"),
)

ERRORS: Final = dict((*_TYPED, *_SENDING, *_DESK, *_NODE, *_IMPORTING, *_FILES, *_CARRYING))
"""By message code, `error-` and the error's code; further codes have their words in `reasons`."""


def sentence(error: AnyError) -> str:
    """Return what went wrong: in the officer's language if it can be, else in English."""
    english = str(error)
    for key, words in (
        (f"error-{error.code}", ERRORS.get(f"error-{error.code}")),
        (f"reason-{error.code}", REASONS.get(f"reason-{error.code}")),
    ):
        if words is not None and (translated := say(key, words)) != words:
            return f"{translated} ({english})"
    return english


def exit_code(error: AnyError) -> int:
    """Return the exit code that tells a script what kind of failure `error` is."""
    if error.code == "unreachable":
        return EXIT_UNREACHABLE
    if isinstance(error, KeysError | LocalError) or _is_fault(error.code):
        return EXIT_FAULT
    if isinstance(error, SchemaError) or error.code in _MISUSE:
        return EXIT_MISUSE
    return EXIT_REFUSED


def _is_fault(code: str) -> bool:
    return code in _FAULTS or code.startswith(_FAULT_OF_DATABASE)
