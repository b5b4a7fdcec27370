"""Small inputs that could cost much: nesting, counts that lie, empties, digits; all stay cheap."""

import resource
import subprocess
import sys

import pytest

from tests.fuzz.parser import Parser
from tests.fuzz.registry import PARSERS

N = 20_000
MAX_GROWTH_KIB = 256 * 1024  # of the whole process: no bomb has more than half a megabyte
BOMBS = {
    "nothing but zeros": bytes(N),
    "nothing but ones": b"\xff" * N,
    "line feeds": b"\n" * N,
    "spaces": b" " * N,
    "digits": b"9" * N,
    "JSON lists in each other": b"[" * N + b"]" * N,
    "JSON maps in each other": b'{"a":' * N + b"1" + b"}" * N,
    "JSON lists, nine hundred deep": b'{"format":1,"a":' + b"[" * 970 + b"]" * 970 + b"}",
    "JSON digits": b'{"format":1,"a":' + b"9" * N + b"}",
    "JSON with one key over and over": b"{" + b'"a":1,' * N + b'"a":1}',
    "TOML lists in each other": b"a = " + b"[" * N,
    "TOML tables in each other": b"a = " + b"{a=" * N,
    "TOML keys in each other": b"format = 1\n" + b"a." * 2000 + b"b = 1\n",
    "TOML heads in each other": b"format = 1\n[" + b"a." * 2000 + b"b]\n",
    "TOML tables in a list": b"[[rule]]\n" * (N // 10),
    "TOML digits": b"a = " + b"9" * N,
    "YAML lists in each other": b"- " * 2000,
    "table cells": b"a," * N,
    "MessagePack lists in each other": b"\x91" * N,
    "MessagePack maps in each other": b"\x81\xa1a" * N,
    "MessagePack lists that claim to be long": (b"\xdd" + N.to_bytes(4, "big")) * 1000 + bytes(N),
    "MessagePack empty lists": b"\xdd" + N.to_bytes(4, "big") + b"\x90" * N,
    "MessagePack empty maps": b"\xdd" + N.to_bytes(4, "big") + b"\x80" * N,
    "MessagePack bytes that are not there": b"\xc6" + b"\xff" * 4,
    "MessagePack text that is not there": b"\xdb" + b"\xff" * 4,
    "a zlib stream of zeros": b"\0\0\x01\0" + bytes(N),
    "empty note lines": b"\n\n" + "\u2014 a b\n".encode() * (N // 10),
    "policy lines": b"group a 1 a\n" * (N // 10),
}


CHEAP = tuple(parser for parser in PARSERS if not parser.name.endswith(("-key", "-store")))


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_gives_a_value_or_our_error(bomb: str) -> None:
    for parser in CHEAP:
        parser.judge(BOMBS[bomb])


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print by how much all bombs together make a process of their own grow."""
    for parser in CHEAP:
        parser.judge(parser.samples()[0])
    before = peak_kib()
    for raw in BOMBS.values():
        for parser in CHEAP:
            parser.judge(raw)
    print(peak_kib() - before)  # noqa: T201


def test_no_bomb_takes_much_memory() -> None:
    command = [sys.executable, "-c", "from tests.fuzz.test_bombs import main; main()"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=100)  # noqa: S603
    assert int(done.stdout.splitlines()[-1]) < MAX_GROWTH_KIB  # before it stands what was logged


def test_every_parser_has_a_corpus_and_a_name_of_its_own() -> None:
    assert len({parser.name for parser in PARSERS}) == len(PARSERS)
    assert all(isinstance(parser, Parser) and parser.samples() for parser in PARSERS)
