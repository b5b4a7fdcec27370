"""What the node knows at this moment: directory, policies, clock against the hub's, connection.

Owned by the tasks named beside each field; everybody else reads.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from broker import clock
from broker.node.errors import NodeError
from broker.policy import Policies, compile_policies
from keys.directory.view import DirectoryView
from schemas.desk import ClockShown, DirectoryShown
from schemas.label import DirectoryVersion

WARN_SKEW: Final = timedelta(seconds=30)
MAX_SKEW: Final = timedelta(minutes=5)
SPLIT_GRACE: Final = timedelta(minutes=10)  # a newer directory may be on its way that long


@dataclass
class Present:
    """The node's picture of now.

    Attributes:
        member: Whose node.
        now: The clock; the machine's, unless a test owns it.
        skew: This clock minus the hub's; None until asked. Written by the clock task.
        split_since: When another directory than ours was first named. Written by the
            directory task and the receiving tasks.
        split: Whether our version was seen with other contents.
        split_unsaid: Whether nobody raised the alarm yet that it was.
    """

    member: str
    now: Callable[[], datetime] = clock.now
    skew: timedelta | None = None
    split_since: datetime | None = None
    split: bool = False
    split_unsaid: bool = False
    _view: DirectoryView | None = field(default=None, repr=False)
    _policies: Policies | None = field(default=None, repr=False)

    def take(self, view: DirectoryView) -> None:
        """Use this directory from now on; called by the directory task alone."""
        if self._view is None or self._view.version != view.version:
            self._policies = compile_policies(view)
            self.split_since, self.split = None, False
        self._view = view

    @property
    def view(self) -> DirectoryView:
        """The directory, however old.

        Raises:
            NodeError: `no-directory`: none was ever fetched.
        """
        if self._view is None:
            raise NodeError(
                "no-directory",
                "this node has not got the directory yet: it needs the hub once",
                kind="unavailable",
                retry="later",
            )
        return self._view

    @property
    def policies(self) -> Policies:
        """The policies of `view`.

        Raises:
            NodeError: `no-directory`.
        """
        if self._policies is None:
            self._policies = compile_policies(self.view)
        return self._policies

    @property
    def has_directory(self) -> bool:
        """Whether a directory was ever fetched."""
        return self._view is not None

    def shown(self) -> DirectoryShown:
        """Return the directory's version as desks see it.

        Raises:
            NodeError: `no-directory`.
        """
        view = self.view
        version = view.version
        return DirectoryShown(
            root=version.root,
            snapshot=version.snapshot,
            hash=version.hash,
            fresh_until=view.fresh_until,
            fresh=self.now() < view.fresh_until,
        )

    def clock_shown(self) -> ClockShown:
        """Return how far this clock is from the hub's."""
        if self.skew is None:
            return ClockShown(skew_s=None, state="unknown")
        far = abs(self.skew)
        state: Literal["ok", "warn", "skew"] = (
            "skew" if far > MAX_SKEW else "warn" if far > WARN_SKEW else "ok"
        )
        return ClockShown(skew_s=round(self.skew.total_seconds(), 1), state=state)

    def hindrance(self) -> str:
        """Return the code of what keeps this node from sealing, or an empty string."""
        now = self.now()
        if self._view is None:
            return "no-directory"
        if now >= self._view.fresh_until:
            return "directory-expired"
        if self.split_since is not None and now - self.split_since > SPLIT_GRACE:
            return "directory-split"
        if self.skew is not None and abs(self.skew) > MAX_SKEW:
            return "clock-skew"
        return ""

    def meet(self, version: DirectoryVersion) -> str:
        """Compare a directory that a label or decision names; return an alarm's code or nothing.

        A higher version than ours may be on its way; the same version with another hash never is.
        """
        if self._view is None:
            return ""
        ours = self._view.version
        named = (version.root, version.snapshot)
        other = named == (ours.root, ours.snapshot) and version.hash != ours.hash
        if other or named > (ours.root, ours.snapshot):
            if other:
                self.meet_split()
                return "directory-split"
            self.split_since = self.split_since or self.now()
        return ""

    def meet_split(self) -> None:
        """Note that our version has other contents elsewhere."""
        if not self.split:
            self.split = self.split_unsaid = True
        self.split_since = self.split_since or self.now()

    def stop_sealing(self) -> None:
        """Seal nothing more under this directory: the gateway itself refused it as split."""
        self.split_since = self.now() - SPLIT_GRACE - timedelta(milliseconds=1)
