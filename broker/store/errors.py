"""What is said when a database does not do it: a code, a sentence, and whether to try again."""

import contextlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from broker.errors import BrokerError


class StoreError(BrokerError):
    """The database did not do it; nothing of the change was kept.

    With `database-lost` alone this is not sure: the server may have kept a commit and gone away
    before it said so. Whoever changes something must be able to ask for the same again.
    """


DAMAGED: Final = "the database is damaged: restore it from a backup"
DAMAGED_CODE: Final = "database-damaged"
_REASONS: Final = (  # parts of what a driver says, in the order in which they are looked for
    ("could not decode to utf-8", DAMAGED_CODE, DAMAGED),  # first: it quotes the text behind it
    ("disk is full", "disk-full", "the disk is full: nothing was kept; make room and try again"),
    ("malformed", DAMAGED_CODE, DAMAGED),
    ("could not decode to utf-8", DAMAGED_CODE, DAMAGED),
    ("not a database", DAMAGED_CODE, "the file is no database: restore it from a backup"),
    ("locked", "database-locked", "another process holds the database"),
    ("disk i/o error", "disk-full", "the disk does not take it: nothing was kept"),
)
_LOST: Final = ("database-lost", "the database cannot be reached, or went away")
_REFUSED: Final = ("database-refused", "the database does not let this user in: look at its log")
_UNCONNECTED: Final = (  # libpq gives no SQLSTATE for what happens before there is a connection
    ("authentication failed", *_REFUSED),
    ("no pg_hba.conf entry", *_REFUSED),
    ("no password supplied", *_REFUSED),
    ("does not exist", "database-missing", "the server has no such database or user: make it"),
    ("certificate", "database-not-trusted", "the database's certificate is not what it should be"),
)
_STATES: Final = (  # how PostgreSQL's SQLSTATE begins; its manual, appendix A
    ("40", "database-conflict", "another transaction was first: nothing was kept"),
    ("53100", "disk-full", "the database's disk is full: nothing was kept"),
    ("55P03", "database-locked", "another process holds the database"),
    ("XX001", DAMAGED_CODE, DAMAGED),
    ("XX002", DAMAGED_CODE, DAMAGED),
    ("08", *_LOST),
    ("25006", *_LOST),  # a standby, which takes no writes: the server that did is another now
    ("53300", *_LOST),
    ("57P", *_LOST),
)


@contextlib.contextmanager
def as_store_error() -> Iterator[None]:
    """Turn what a driver raises into `StoreError`; what it quotes of the rows is left behind."""
    try:
        yield
    except UnicodeDecodeError:  # the driver meets a changed bit in a text, and lets it out bare
        raise damaged() from None
    except NoConnectionFree:
        raise StoreError("database-locked", "too many read at once", retry="later") from None
    except DBAPIError as error:
        raise store_error(error) from None


def damaged() -> StoreError:
    """Return what is said of a database that is not as it was written."""
    return StoreError(DAMAGED_CODE, DAMAGED, retry="later")


def store_error(error: DBAPIError) -> StoreError:
    """Return what is said of a driver's error."""
    state = getattr(error.orig, "sqlstate", None) or ""
    text = str(error.orig).lower()
    found = next((rest for start, *rest in _STATES if state.startswith(start)), None)
    if found is None and not state and "connection" in text:
        found = next((rest for part, *rest in _UNCONNECTED if part in text), [*_LOST])
    if found is None and error.connection_invalidated:
        found = [*_LOST]
    if found is None:
        found = next((rest for part, *rest in _REASONS if part in text), None)
    if found is None:
        return StoreError("database-failed", "the database refused", retry="later")
    code, message = found
    return StoreError(code, message, retry="later")
