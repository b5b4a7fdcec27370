"""Where a test keeps states: in SQLite's files, or each in a database of a real PostgreSQL."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.store.database import sqlite_url
from tests.support.postgres import Postgres

TEMPLATE: Final = "node_template"  # with a node's tables, so that a test need not wait for them
_numbers = itertools.count(1)


@dataclass
class Databases:
    """Gives a database to each file in which SQLite would keep a state; the same to the same."""

    postgres: Postgres | None = None
    _made: dict[Path, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "sqlite" if self.postgres is None else "postgresql"

    def url(self, file: Path) -> str:
        """The URL of the state of `file`, empty at first but for a node's tables."""
        if self.postgres is None:
            return sqlite_url(file)
        if file not in self._made:
            self._copy(TEMPLATE, file)
        return self.postgres.url(self._made[file])

    def back_up(self, file: Path, backup: Path) -> None:
        """Copy a state as its keeper does; SQLite's journal must be empty."""
        if self.postgres is None:
            shutil.copy(file, backup)
        else:
            self.postgres.dump(self._made[file], backup)

    def put_back(self, backup: Path, file: Path) -> None:
        """Put a copy in the state's place, as an administrator would."""
        if self.postgres is None:
            for left in file.parent.glob(f"{file.name}-*"):
                left.unlink()
            shutil.copy(backup, file)
            return
        if file in self._made:
            self.postgres.drop(self._made.pop(file))
        self._made[file] = name = f"test{next(_numbers)}"
        self.postgres.restore(backup, name)

    def drop(self) -> None:
        """Take away what was made."""
        if self.postgres is not None:
            for name in self._made.values():
                self.postgres.drop(name)
        self._made.clear()

    def _copy(self, of: str, file: Path) -> None:
        assert self.postgres is not None
        name = f"test{next(_numbers)}"
        self.postgres.copy(of, name)
        self._made[file] = name


_current: list[Databases] = [Databases()]  # The innermost counts.


@contextmanager
def kept_in(databases: Databases) -> Iterator[Databases]:
    """While the block runs, `url_of` gives these databases."""
    _current.append(databases)
    try:
        yield databases
    finally:
        _current.remove(databases)
        databases.drop()


def current() -> Databases:
    """Those of this test."""
    return _current[-1]


def url_of(file: Path) -> str:
    """The URL of the state that SQLite would keep in `file`, for this test."""
    return current().url(file)
