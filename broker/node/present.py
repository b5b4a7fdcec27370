"""What the node knows at this moment: directory, policies, clock against the hub's, connection.

Owned by the tasks named beside each field; everybody else reads.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from broker import clock
from broker.node.errors import NodeError
from broker.node.evidence import NAMED, EvidenceFolder, Split
from broker.policy import Policies, compile_policies
from keys.directory.layout import TIMESTAMP_LASTS
from keys.directory.view import DirectoryView
from schemas.desk import ClockShown, DirectoryShown
from schemas.label import DirectoryVersion

WARN_SKEW: Final = timedelta(seconds=30)
CLOCK_SKEW: Final = "clock-skew"
MAX_SKEW: Final = timedelta(minutes=5)
MAX_HELD: Final = 256  # versions whose hash is remembered, to be compared with what others name
SPLIT_GRACE: Final = timedelta(minutes=10)  # a newer directory may be on its way that long


@dataclass(frozen=True)
class Began:
    """When something began that shall not last.

    Attributes:
        at: By this node's clock, which may be put right meanwhile.
        steady_s: By the one that cannot, in seconds.
    """

    at: datetime
    steady_s: float


@dataclass
class Present:
    """The node's picture of now.

    Attributes:
        member: Whose node.
        now: The clock; the machine's, unless a test owns it.
        machine: The machine's clock, which may jump, and
        steady: the one that cannot, in seconds.
        skew: This clock minus the hub's when that was asked last; None until then.
        split_since: When another directory than ours was first named. Written by the
            directory task and the receiving tasks.
        ahead: The highest version that was named and is not held, with proof of who named it.
        split: Whether there are two directories for certain: other contents under a version that
            was held, or a version that the hub does not show.
        unsaid: The split of which no alarm was raised yet.
        evidence: Where splits are proved; None where no directory is kept.
        candidate: A newer directory that the log does not prove yet: what it takes away is taken
            away already, what it grants waits. Written by the tasks of directory and log.
    """

    member: str
    now: Callable[[], datetime] = clock.now
    machine: Callable[[], datetime] = clock.now
    steady: Callable[[], float] = time.monotonic
    skew: timedelta | None = None
    split_since: Began | None = None
    ahead: tuple[DirectoryVersion, bytes] | None = None
    split: bool = False
    unsaid: Split | None = None
    evidence: EvidenceFolder | None = None
    candidate: DirectoryView | None = None
    _asked: tuple[datetime, float] | None = field(default=None, repr=False)  # Both clocks then.
    _was_skewed: bool = field(default=False, repr=False)  # Something may wait because of it.
    _shown: set[str] = field(default_factory=set, repr=False)  # Kinds of evidence of this split.
    _held: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False)
    _view: DirectoryView | None = field(default=None, repr=False)
    _policies: Policies | None = field(default=None, repr=False)

    def take(self, view: DirectoryView) -> None:
        """Use this directory from now on; called by the directory task alone."""
        if self._view is None or self._view.version != view.version:
            self._policies = compile_policies(view)
        known = self._newest()
        self.candidate, self._view = None, view
        self._note(view.version, known)

    def hold(self, view: DirectoryView, candidate: DirectoryView) -> None:
        """Go on with `view`, whose version is in force, while `candidate` is not proved yet."""
        known = self._newest()
        self.candidate, self._view = candidate, view
        self._note(candidate.version, known)

    def signed_before(self) -> datetime:
        """Return a moment that was over when the hub signed the newest directory here.

        Raises:
            NodeError: `no-directory`.
        """
        return (self.candidate or self.view).fresh_until - TIMESTAMP_LASTS

    def waits_for(self, version: DirectoryVersion) -> bool:
        """Whether what was decided under `version` may hold once the log proves that directory."""
        return self.candidate is not None and self.candidate.version == version

    def has_reached(self, version: DirectoryVersion) -> bool:
        """Whether the directory in force is this one, or a newer one.

        Raises:
            NodeError: `no-directory`.
        """
        return _number(version) <= _number(self.view.version)

    def _newest(self) -> DirectoryVersion | None:
        newest = self.candidate or self._view
        return None if newest is None else newest.version

    def _note(self, version: DirectoryVersion, known: DirectoryVersion | None) -> None:
        """Note which directory the hub shows; `known` is what it showed before."""
        if known != version and (self.ahead is None or _number(self.ahead[0]) <= _number(version)):
            self.split_since, self.split = None, False
            self._shown.clear()
        self._held[_number(version)] = version.hash
        while len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]
        if self.ahead is not None and _number(self.ahead[0]) <= _number(version):
            (named, proof), self.ahead = self.ahead, None
            self.meet(named, proof)

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

    def begin(self) -> Began:
        """Return this moment, for `lasted`."""
        return Began(self.now(), self.steady())

    def lasted(self, began: Began) -> timedelta:
        """Return how long ago that was: no clock that is set makes a wait shorter, or endless."""
        return timedelta(seconds=self.steady() - began.steady_s)

    def compared(self, skew: timedelta) -> bool:
        """Note how far this clock is from the hub's; return whether that hinders no more.

        Until it is asked again, a clock that jumps is told from one that runs by the machine's
        steady clock, so that no jump passes for time that went by.
        """
        was_wrong = self.skew is None or self._was_skewed
        self.skew, self._asked = skew, (self.machine(), self.steady())
        self._was_skewed = abs(skew) > MAX_SKEW
        return was_wrong and not self._was_skewed

    def _skew_now(self) -> timedelta | None:
        if self.skew is None or self._asked is None:
            return self.skew
        at, steady_s = self._asked
        return self.skew + (self.machine() - at) - timedelta(seconds=self.steady() - steady_s)

    def clock_shown(self) -> ClockShown:
        """Return how far this clock is from the hub's."""
        skew = self._skew_now()
        if skew is None:
            return ClockShown(skew_s=None, state="unknown")
        far = abs(skew)
        state: Literal["ok", "warn", "skew"] = (
            "skew" if far > MAX_SKEW else "warn" if far > WARN_SKEW else "ok"
        )
        return ClockShown(skew_s=round(skew.total_seconds(), 1), state=state)

    @property
    def clock_is_good(self) -> bool:
        """Whether this clock was compared with the hub's and is near it: what ends, may end."""
        skew = self._skew_now()
        return skew is not None and abs(skew) <= MAX_SKEW

    def hindrance(self) -> str:
        """Return the code of what keeps this node from sealing, or an empty string."""
        now = self.now()
        if self._view is None:
            return "no-directory"
        if now >= self._view.fresh_until:
            return "directory-expired"
        if self.split_since is not None and self.lasted(self.split_since) > SPLIT_GRACE:
            return "directory-split"
        skew = self._skew_now()
        if skew is not None and abs(skew) > MAX_SKEW:
            self._was_skewed = True
            return CLOCK_SKEW
        return ""

    def knows(self, version: DirectoryVersion) -> bool:
        """Whether a directory that is named is nothing new: held, or older than any held.

        Else `meet` must hear of it, with a proof; making one for every message takes long.
        """
        newest, number = self._newest(), _number(version)
        return newest is None or (
            number <= _number(newest) and self._held.get(number, version.hash) == version.hash
        )

    def meet(self, version: DirectoryVersion, proof: bytes = b"") -> str:
        """Compare a directory that a label or decision names; return an alarm's code or nothing.

        A higher version than ours may be on its way; a version held with another hash never is.

        Args:
            version: As named.
            proof: Who named it, signed; kept as evidence.
        """
        newest = self._newest()
        if newest is None:
            return ""
        number, ours = _number(version), _number(newest)
        if self._held.get(number, version.hash) != version.hash:
            self.meet_split({NAMED: proof}, stops=number == ours)
            return "directory-split" if number == ours else ""
        if number > ours:
            if self.ahead is None or number > _number(self.ahead[0]):
                self.ahead = (version, proof)
            self.split_since = self.split_since or self.begin()
        return ""

    def miss(self, version: DirectoryVersion) -> None:
        """Note that the hub, asked after this version was named, shows an older directory."""
        if self.ahead is not None and self.ahead[0] == version:
            self.meet_split({NAMED: self.ahead[1]})

    def meet_split(self, files: Mapping[str, bytes], *, stops: bool = True) -> None:
        """Note for certain that there are two directories.

        Args:
            files: Evidence by name.
            stops: Whether sealing stops in `SPLIT_GRACE`: not for a version left behind long ago,
                after which all came to see the same again.
        """
        if not self.split or not set(files) <= self._shown:
            self.split, self.unsaid = True, Split(self.now(), files)
            self._shown |= set(files)
        if stops:
            self.split_since = self.split_since or self.begin()

    def stop_sealing(self) -> None:
        """Seal nothing more under this directory: the gateway itself refused it as split."""
        over = self.steady() - SPLIT_GRACE.total_seconds() - 1
        self.split_since = Began(self.now(), over)


def _number(version: DirectoryVersion) -> tuple[int, int]:
    return version.root, version.snapshot
