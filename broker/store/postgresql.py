"""PostgreSQL as nodes and log use it: a reader sees one point in time, one change goes at a time.

Its default lets transactions change the same rows side by side, and a reader see each statement at
a later time; our rules were written for SQLite, which does neither. So a change takes an advisory
lock as it begins, and a reader has one snapshot for all its statements.
What its library, libpq, is told stands in the URL alone: whatever that leaves open, libpq would
take from variables of the environment, another server's address among them.
Sources: PostgreSQL's manual, 13.2 and 13.3.5; libpq's parameters and variables, 34.1.2 and 34.15.
"""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from broker.settings import settings, supervisors_credential, variables
from broker.store.errors import StoreError
from broker.store.sqlite import CHANGING
from keys.errors import KeyFileError
from keys.passphrase import read_given_passphrase, read_passphrase

DRIVER: Final = "postgresql+psycopg"
CREDENTIAL: Final = "database-password"  # its name in LoadCredential=
READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
TIMED: Final = "set_config('lock_timeout', '5s', true)"
"""In SQL: that this transaction waits so long for a lock, as SQLite's do."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ELSEWHERE: Final = {  # what a server on another machine is spoken to with, and nothing less
    "sslmode": "verify-full",
    "ssl_min_protocol_version": "TLSv1.3",
    "gssencmode": "disable",  # Kerberos' encryption would take the place of TLS
}
_CONNECTING: Final = {  # a server that is there but does not answer is given up in half a minute
    "application_name": "kentong",
    "connect_timeout": "10",  # seconds
    "keepalives_idle": "10",  # seconds
    "keepalives_interval": "5",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # milliseconds
}
_SAYABLE: Final = (
    frozenset(_ELSEWHERE)
    | frozenset(_CONNECTING)
    | {
        "host",
        "port",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "sslcrldir",
        "passfile",
        "channel_binding",
        "require_auth",
        "target_session_attrs",
        "load_balance_hosts",
        "options",
    }
)
"""What may follow the `?`. Not `hostaddr` and `service`, which lead to a server that the URL does
not name, and nothing that is a secret or writes one down (`sslpassword`, `sslkeylogfile`)."""

_HARMLESS: Final = frozenset({"PGDATA"})  # of a server that runs here; libpq does not read it


def postgresql_engine(url: URL, name: str) -> AsyncEngine:
    """Return an engine on the database at `url`.

    Args:
        url: Without a password.
        name: Of the state that is kept there: what its locks are called.

    Raises:
        StoreError: `database-password`: it stands in the URL, or its file cannot be read or is
            open to others; `database-url`: it says what a URL may not; `database-environment`:
            a variable would say more than it; `database-not-encrypted`; `database-driver`: the
            driver is not installed.
    """
    if url.password is not None or "password" in url.query:
        raise StoreError(
            "database-password",
            "a database's URL must not hold its password: use a file"
            " (KENTONG_DATABASE_PASSWORD_FILE, or ?passfile= in the URL)",
        )
    _check_sayable(url)
    url = _encrypted(url).set(drivername=DRIVER)
    if (word := _password()) is not None:
        url = url.set(password=word)
    for setting, value in _CONNECTING.items():
        if setting not in url.query:
            url = url.update_query_dict({setting: value})
    try:
        engine = create_async_engine(url, hide_parameters=True)  # parameters could be content
    except ModuleNotFoundError:
        raise StoreError(
            "database-driver", "PostgreSQL needs its driver: pip install 'kentong[postgresql]'"
        ) from None

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(CHANGING, False):
            number = lock_number(name, "change")
            connection.exec_driver_sql(f"SELECT {TIMED}, pg_advisory_xact_lock({number})")

    event.listen(engine.sync_engine, "begin", begin)
    return engine


def lock_number(name: str, what: str) -> str:
    """Return the SQL of a lock's number: the same to all who use this database and schema."""
    return f"hashtextextended('kentong/{name}/{what}/' || current_schema(), 0)"


def _check_sayable(url: URL) -> None:
    """Return if all that libpq will be told stands in the URL, and the URL may say it.

    Raises:
        StoreError: `database-url`; `database-environment`.
    """
    if more := sorted(set(url.query) - _SAYABLE):
        raise StoreError("database-url", f"a database's URL cannot say {', '.join(more)}")
    if found := [name for name in variables("PG") if name not in _HARMLESS]:
        raise StoreError(
            "database-environment",
            f"unset {', '.join(found)}: where a database is and how it is reached is said by its"
            " URL alone",
        )


def _encrypted(url: URL) -> URL:
    """Return the URL with TLS and the server's name checked, unless the server is this machine.

    Raises:
        StoreError: `database-not-encrypted`: the URL wants less.
    """
    if all(map(_is_this_machine, _hosts(url))):
        return url
    if any(url.query.get(setting, value) != value for setting, value in _ELSEWHERE.items()):
        raise StoreError(
            "database-not-encrypted",
            "a database on another machine needs sslmode=verify-full under TLS 1.3, and its"
            " authority's certificate in sslrootcert=",
        )
    return url.update_query_dict(_ELSEWHERE)


def _hosts(url: URL) -> Iterator[str]:
    """All servers that the URL leads to; libpq splits each of its places at commas."""
    named = url.query.get("host", ())
    for place in (url.host or "", *([named] if isinstance(named, str) else named)):
        yield from place.split(",")


def _is_this_machine(host: str) -> bool:
    name = host.partition(":")[0] if host.count(":") == 1 else host  # it may have a port
    return not host or host.startswith("/") or name in _LOOPBACK


def _password() -> str | None:
    """Return the password from the file that is named, or from systemd; None if there is none.

    Raises:
        StoreError: `database-password`: missing, empty, open to others, or no text.
    """
    try:
        if (named := settings().database_password_file) is not None:
            return read_passphrase(named.expanduser()).decode()
        if (given := supervisors_credential(CREDENTIAL)) is not None:
            return read_given_passphrase(given).decode()
    except KeyFileError as error:
        raise StoreError("database-password", f"no password can be had: {error}") from error
    except UnicodeDecodeError:
        raise StoreError("database-password", "the password's file is no text") from None
    return None
