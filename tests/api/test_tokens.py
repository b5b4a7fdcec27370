"""Tokens: shown once, kept as a hash, gone at once when revoked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.api import Scope, TokenBook, TokenError
from broker.store.database import open_database
from broker.store.tables import metadata
from tests.support.databases import Databases

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
BOTH = frozenset({Scope.READ, Scope.SUBMIT})


@pytest.fixture
async def book(databases: Databases, tmp_path: Path) -> AsyncIterator[TokenBook]:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as database:
        yield TokenBook(database)


async def test_a_token_names_its_desk_scopes_and_types(book: TokenBook) -> None:
    record, token = await book.add("case-system", BOTH, types=frozenset({"drugs"}), now=NOW)
    caller = await book.authenticate(token, now=NOW)
    assert caller == record.caller
    assert (caller.desk, caller.scopes, caller.types) == ("case-system", BOTH, {"drugs"})
    assert caller.may_see("drugs")
    assert not caller.may_see("cyber")


async def test_the_database_holds_no_token(book: TokenBook, tmp_path: Path) -> None:
    _, token = await book.add("case-system", BOTH, now=NOW)
    assert token[-43:].encode() not in everything_in(tmp_path)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_no_two_tokens_are_alike_and_a_changed_one_is_none(book: TokenBook) -> None:
    _, one = await book.add("a", BOTH, now=NOW)
    _, other = await book.add("a", BOTH, now=NOW)
    assert one != other
    mixed = one[:21] + other[21:]
    flipped = one[:-2] + ("A" if one[-2] != "A" else "B") + one[-1]
    for wrong in (mixed, flipped, one + "A", one[:-1], "", "kentong_", one.upper(), "é" * 64):
        with pytest.raises(TokenError, match="not known") as caught:
            await book.authenticate(wrong, now=NOW)
        assert caught.value.code == "bad-token"


async def test_a_revoked_or_expired_token_is_none(book: TokenBook) -> None:
    record, token = await book.add("a", BOTH, now=NOW, valid_for=timedelta(days=1))
    await book.authenticate(token, now=NOW + timedelta(hours=23))
    with pytest.raises(TokenError):
        await book.authenticate(token, now=NOW + timedelta(days=1))
    await book.revoke(record.caller.token_id, now=NOW)
    await book.revoke(record.caller.token_id, now=NOW + timedelta(hours=1))
    with pytest.raises(TokenError):
        await book.authenticate(token, now=NOW)
    (kept,) = await book.records()
    assert kept.revoked_at == NOW


async def test_revoking_an_unknown_token_says_so(book: TokenBook) -> None:
    with pytest.raises(TokenError) as caught:
        await book.revoke("0123456789ab", now=NOW)
    assert caught.value.code == "unknown-token"


@pytest.mark.parametrize(
    ("desk", "scopes", "types", "code"),
    [
        ("", BOTH, frozenset(), "bad-desk-name"),
        ("a.b", BOTH, frozenset(), "bad-desk-name"),
        ("x" * 32, BOTH, frozenset(), "bad-desk-name"),
        ("a", frozenset(), frozenset(), "no-scope"),
        ("a", BOTH, frozenset({"Drugs"}), "bad-type-name"),
    ],
)
async def test_a_token_that_could_not_be_used_safely_is_not_made(
    book: TokenBook, desk: str, scopes: frozenset[Scope], types: frozenset[str], code: str
) -> None:
    with pytest.raises(TokenError) as caught:
        await book.add(desk, scopes, types=types, now=NOW)
    assert caught.value.code == code
    assert await book.records() == ()
