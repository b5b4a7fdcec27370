"""Help texts in the officer's language: taken out of the sources, and put into the commands.

They stand in the catalogues under the context `help`, whole: a docstring with its examples is one
text. What typer itself says (Options, Usage) stays as typer has it.
"""

import ast
import importlib
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO, Final, TypeAlias

from broker.cli.text import say

CONTEXT: Final = "help"
_HELPED: Final = frozenset({"Option", "Argument", "Typer"})
_Found: TypeAlias = tuple[int, Any, Any, Any]  # line, function, texts, comments


def translate(command: Any) -> None:  # noqa: ANN401 - typer's own click is private
    """Put the officer's language into a command's help, its options' and its subcommands'."""
    for name in ("help", "short_help", "rich_help_panel"):
        if isinstance(text := getattr(command, name, None), str) and text:
            setattr(command, name, say(CONTEXT, text))
    for param in command.params:
        if isinstance(text := getattr(param, "help", None), str) and text:
            param.help = say(CONTEXT, text)
    for inner in getattr(command, "commands", {}).values():
        translate(inner)


def extract(
    source: BinaryIO,
    keywords: Mapping[str, Any],
    comment_tags: Sequence[str],
    options: Any,  # noqa: ANN401 - Babel's own, handed on
) -> Iterator[_Found]:
    """Yield every text of a module as Babel wants them: what is said, and what helps."""
    raw = source.read()
    # Each command translates its help; only the makers of catalogues extract.
    extract_python = importlib.import_module("babel.messages.extract").extract_python
    yield from extract_python(BytesIO(raw), keywords, comment_tags, options)
    for node in ast.walk(ast.parse(raw)):
        match node:
            case ast.Call():
                yield from ((node.lineno, "say", (CONTEXT, text), []) for text in _of_call(node))
            case ast.FunctionDef() if _is_command(node):
                if text := ast.get_docstring(node):
                    yield node.lineno, "say", (CONTEXT, text), []
            case ast.AnnAssign(value=ast.Constant(value=str(text))) if text.startswith("For "):
                yield node.lineno, "say", (CONTEXT, text), []  # a heading over commands


def _of_call(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    name = call.func.id if isinstance(call.func, ast.Name) else name
    given = [each.value for each in call.keywords if each.arg == "help" and name in _HELPED]
    given += call.args[1:2] if name == "Command" else []
    for value in given:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def _is_command(function: ast.FunctionDef) -> bool:
    """Return whether typer makes a command of a function: by its decorator, or by its name."""
    if function.name in ("command", "_options"):
        return True
    called = [each.func for each in function.decorator_list if isinstance(each, ast.Call)]
    return any(
        isinstance(each, ast.Attribute) and each.attr in ("command", "callback") for each in called
    )
