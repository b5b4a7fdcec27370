"""PostgreSQL as nodes and log use it: a reader sees one point in time, one change goes at a time.

Its default lets transactions change the same rows side by side, and a reader see each statement at
a later time; our rules were written for SQLite, which does neither. So a change takes an advisory
lock as it begins, and a reader has one snapshot for all its statements.
Sources: PostgreSQL's manual, 13.2 and 13.3.5; libpq's parameters, 34.1.2.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from broker.settings import settings, supervisors_credential
from broker.store.errors import StoreError
from broker.store.sqlite import CHANGING

DRIVER: Final = "postgresql+psycopg"
CREDENTIAL: Final = "database-password"  # its name in LoadCredential=
READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
TIMED: Final = "set_config('lock_timeout', '5s', true)"
"""In SQL: that this transaction waits so long for a lock, as SQLite's do."""
_MAX_PASSWORD_BYTES: Final = 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CHECKED: Final = frozenset({"verify-ca", "verify-full"})
_CONNECTING: Final = {  # a server that is there but does not answer is given up in half a minute
    "application_name": "kentong",
    "connect_timeout": "10",  # seconds
    "keepalives_idle": "10",  # seconds
    "keepalives_interval": "5",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # milliseconds
}


def postgresql_engine(url: URL, name: str) -> AsyncEngine:
    """Return an engine on the database at `url`.

    Args:
        url: Without a password.
        name: Of the state that is kept there: what its locks are called.

    Raises:
        StoreError: `database-password`: it stands in the URL, or its file cannot be read;
            `database-not-encrypted`; `database-driver`: the driver is not installed.
    """
    if url.password is not None or "password" in url.query:
        raise StoreError(
            "database-password",
            "a database's URL must not hold its password: use a file"
            " (KENTONG_DATABASE_PASSWORD_FILE, or ?passfile= in the URL)",
        )
    url = _encrypted(url).set(drivername=DRIVER)
    if (
        file := settings().database_password_file or supervisors_credential(CREDENTIAL)
    ) is not None:
        url = url.set(password=_password(file))
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


def _encrypted(url: URL) -> URL:
    """Return the URL with TLS and the server's name checked, unless the server is this machine.

    Raises:
        StoreError: `database-not-encrypted`: the URL wants less.
    """
    named = url.query.get("host", ())
    hosts = [url.host or "", *([named] if isinstance(named, str) else named)]
    local = all(
        not host or host.startswith("/") or host.partition(":")[0] in _LOOPBACK for host in hosts
    )
    if local:
        return url
    mode = url.query.get("sslmode", "verify-full")
    if mode not in _CHECKED:
        raise StoreError(
            "database-not-encrypted",
            "a database on another machine needs sslmode=verify-full, and its authority's"
            " certificate in sslrootcert=",
        )
    wanted = {"sslmode": mode, "ssl_min_protocol_version": "TLSv1.3"}
    return url.update_query_dict({**wanted, **url.query})


def _password(file: Path) -> str:
    try:
        raw = file.expanduser().read_bytes()[:_MAX_PASSWORD_BYTES]
        word = raw.decode().partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError):
        word = ""
    if not word:
        raise StoreError("database-password", f"{file} holds no password that can be read")
    return word
