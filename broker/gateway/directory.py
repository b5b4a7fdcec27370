"""The directory as a gateway worker uses it: verified, compiled, looked at again and again."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from broker.admission.judge import Situation
from broker.gateway.witnessing import Witnessing
from broker.logs import get_logger
from broker.policy import Policies, compile_policies
from keys.directory.view import DirectoryView
from keys.errors import KeysError

REREAD_S: Final = 2.0  # a revocation at the hub takes this much longer to be judged by
_log = get_logger()


class ViewSource(Protocol):
    """Where a worker reads the published directory."""

    def view(self) -> DirectoryView:
        """Return the newest version, verified.

        Raises:
            KeysError: It breaks a rule, or cannot be read.
        """
        ...


@dataclass
class DirectoryInForce:
    """The newest verified directory and its policies, compiled once for each version.

    A version that breaks a rule is not taken; the one in force ages until it is stale, and then
    the gateway decides nothing.
    """

    source: ViewSource
    _view: DirectoryView
    _policies: Policies  # Owned by `reread`; nobody else writes it.
    witnessing: Witnessing | None = None

    @classmethod
    def read(cls, source: ViewSource, witnessing: Witnessing | None = None) -> "DirectoryInForce":
        """Return what is published now.

        Args:
            source: Where it is.
            witnessing: Whether the log is witnessed; without it, nobody asks.

        Raises:
            KeysError: It breaks a rule, or cannot be read.
        """
        view = source.view()
        return cls(source, view, compile_policies(view), witnessing)

    @property
    def view(self) -> DirectoryView:
        """The directory in force."""
        return self._view

    def situation(self, now: datetime) -> Situation:
        """Return what holds at `now`."""
        unwitnessed = self.witnessing is not None and self.witnessing.unmet(self._view, now)
        return Situation(self._view, self._policies, now, unwitnessed)

    async def keep_fresh(self) -> None:
        """Look again for ever, every `REREAD_S` seconds."""
        while True:
            await asyncio.sleep(REREAD_S)
            self.reread()

    def reread(self) -> None:
        """Take a newer version, if there is one that verifies."""
        try:
            view = self.source.view()
        except KeysError as error:
            _log.error("directory-not-taken", error_code=error.code)
            return
        if view.version != self._view.version:
            self._policies = compile_policies(view)
            _log.info("directory-taken", snapshot=view.version.snapshot)
        self._view = view
