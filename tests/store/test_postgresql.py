"""What the URL of a PostgreSQL may say, and whom we believe to be it."""

import os
import pwd
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from sqlalchemy import make_url

from broker.settings import settings
from broker.store.database import StoreError, check_url, open_database
from broker.store.postgresql import CREDENTIAL, postgresql_engine
from broker.store.tables import metadata
from tests.support.postgres import USER, Postgres, installed, running_postgres

SECRET = "open-sesame-42"  # noqa: S105 - of a server that this test makes


@pytest.fixture(autouse=True)
def _settings_anew() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def query_of(url: str) -> dict[str, object]:
    return dict(postgresql_engine(make_url(url), "node").url.query)


@pytest.mark.parametrize(
    "url", [f"postgresql://kentong:{SECRET}@db/x", f"postgresql:///x?password={SECRET}"]
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        check_url(url, metadata)
    assert caught.value.code == "database-password"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://db/x", f"oracle://a:{SECRET}@db/x"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        check_url(url, metadata)
    assert caught.value.code == "database-url"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["db.example.int", "10.0.0.7", "h/x?host=localhost&host=db:5432"])
def test_elsewhere_the_name_is_checked_under_tls_1_3(host: str) -> None:
    url = f"postgresql://kentong@{host}" if "?" in host else f"postgresql://kentong@{host}/x"
    query = query_of(url)
    assert query["sslmode"] == "verify-full"
    assert query["ssl_min_protocol_version"] == "TLSv1.3"


LESS = {
    **{f"sslmode={mode}": f"db/x?sslmode={mode}" for mode in ("disable", "prefer", "require")},
    "the name unchecked": "db/x?sslmode=verify-ca",
    "said twice": "db/x?sslmode=verify-full&sslmode=disable",
    "older TLS": "db/x?ssl_min_protocol_version=TLSv1.2",
    "Kerberos in place of TLS": "db/x?gssencmode=require",
    "one of two": "/x?host=/run/pg&host=db&sslmode=require",
    "behind a comma": "/x?host=/run/pg,db.example.int&sslmode=disable",
    "behind a comma of the place": "localhost,db/x?sslmode=disable",
    "named like a folder of a socket": "@/x?host=%40abstract&sslmode=disable",
}


@pytest.mark.parametrize("place", LESS.values(), ids=LESS)
def test_elsewhere_less_is_refused(place: str) -> None:
    with pytest.raises(StoreError) as caught:
        check_url(f"postgresql://{place}", metadata)
    assert caught.value.code == "database-not-encrypted"


@pytest.mark.parametrize(
    "query",
    [
        "hostaddr=10.0.0.7",
        "service=remote",
        f"sslpassword={SECRET}",
        "sslkeylogfile=/tmp/keys",
        "HOST=db",
    ],
)
def test_what_leads_elsewhere_unseen_or_is_a_secret_is_refused(query: str) -> None:
    with pytest.raises(StoreError) as caught:
        check_url(f"postgresql://kentong@localhost/x?{query}", metadata)
    assert caught.value.code == "database-url"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPASSFILE"])
def test_no_variable_says_more_than_the_url(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "db.example.int")
    with pytest.raises(StoreError, match=variable) as caught:
        check_url("postgresql:///x", metadata)
    assert caught.value.code == "database-environment"


LOCAL = ["/x", "/x?host=/run/postgresql", "localhost/x", "127.0.0.1/x", "[::1]/x"]


@pytest.mark.parametrize("place", [*LOCAL, "/x?host=localhost:5433&host=/run/pg,/run/other"])
def test_on_this_machine_it_is_the_operators_choice(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/var/lib/postgresql")  # of a server here: no word to a client
    assert "sslmode" not in query_of(f"postgresql://kentong@{place}")


@dataclass(frozen=True)
class Guarded:
    """A server on a port of this machine that lets in by password and TLS alone."""

    port: int
    authority: Path

    def url(self, authority: Path | None = None, host: str = "localhost") -> str:
        ca = authority or self.authority
        return (
            f"postgresql://{USER}@{host}:{self.port}/guarded?sslmode=verify-full&sslrootcert={ca}"
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    authority = trustme.CA()
    authority_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(authority_file)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def before(server: Postgres) -> None:
        issued = authority.issue_cert("localhost")
        key, certificate = server.data / "server.key", server.data / "server.crt"
        key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            for file in (key, certificate):
                os.chown(file, entry.pw_uid, entry.pw_gid)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = 'localhost'\nport = {port}\nssl = on\n")
        lines = "local all all trust\nhostssl all all all scram-sha-256\n"
        (server.data / "pg_hba.conf").write_text(lines)

    with running_postgres(installed(), before, port=port) as server:
        server.database("guarded")
        server.say(f"ALTER USER {USER} PASSWORD '{SECRET}'")
        yield Guarded(port, authority_file)


def password_in(file: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"{word}\n")
    file.chmod(0o600)
    monkeypatch.setenv("KENTONG_DATABASE_PASSWORD_FILE", str(file))
    settings.cache_clear()


async def code_of(url: str) -> str:
    try:
        async with open_database(url, metadata):
            return "open"
    except StoreError as error:
        code, text = error.code, str(error)
    assert SECRET not in text
    return code


async def test_by_tls_and_a_password_from_a_file_it_opens(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password_in(tmp_path / "password", SECRET, monkeypatch)
    assert await code_of(guarded.url()) == "open"


async def test_a_password_that_others_may_read_is_refused(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    password_in(file, SECRET, monkeypatch)
    file.chmod(0o644)
    assert await code_of(guarded.url()) == "database-password"
    monkeypatch.delenv("KENTONG_DATABASE_PASSWORD_FILE")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings.cache_clear()
    given = tmp_path / CREDENTIAL
    given.write_text(f"{SECRET}\n")
    given.chmod(0o444)
    assert await code_of(guarded.url()) == "database-password"
    given.chmod(0o440)
    assert await code_of(guarded.url()) == "open"


async def test_an_impostor_a_wrong_name_and_a_wrong_password_are_told_apart(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password_in(tmp_path / "password", SECRET, monkeypatch)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    assert await code_of(guarded.url(other)) == "database-not-trusted"
    assert await code_of(guarded.url(host="127.0.0.1")) == "database-not-trusted"
    missing = guarded.url().replace("/guarded", "/none")
    assert await code_of(missing) == "database-missing"
    password_in(tmp_path / "password", "wrong", monkeypatch)
    assert await code_of(guarded.url()) == "database-refused"
    password_in(tmp_path / "password", "", monkeypatch)
    assert await code_of(guarded.url()) == "database-password"
