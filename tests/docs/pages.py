"""What a page claims: its commands, its headings, and the tests that it names."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
FILE = re.compile(r"`((?:deploy|docs|broker|keys|schemas)/[\w/.@-]+\w)`")
LINK = re.compile(r"\]\(([\w./-]*)(?:#([\w-]+))?\)")


def page(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / name).read_text("utf-8")


def named_tests(text: str) -> list[tuple[str, str]]:
    """Each test that a page names: file, and function or nothing."""
    return NAMED.findall(text)


@cache
def functions(path: str) -> frozenset[str]:
    """Names of the functions of a test file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def missing_tests(text: str) -> list[str]:
    """Those that do not exist."""
    return [
        f"{path}::{name}"
        for path, name in named_tests(text)
        if not (ROOT / path).is_file() or (name and name not in functions(path))
    ]


def missing_files(text: str) -> list[str]:
    """Files of ours that a page names and that are not there; `*` stands for any."""
    return [path for path in FILE.findall(text) if not (ROOT / path).exists()]


def anchors(text: str) -> frozenset[str]:
    """The anchors of a page's headings, as they are made of them on the web."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def broken_links(name: str) -> list[str]:
    """Links of a page to files or headings that are not there."""
    text, folder = page(name), ROOT / "docs"
    found: list[str] = []
    for file, anchor in LINK.findall(text):
        target = folder / file if file else folder / name
        there = target.is_file() and (not anchor or anchor in anchors(target.read_text("utf-8")))
        if not there:
            found.append(f"{file}#{anchor}")
    return found


def shell_lines(text: str) -> list[str]:
    """Every line of every shell block."""
    return [line for block in SHELL.findall(text) for line in block.splitlines() if line]
