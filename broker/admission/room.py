"""How a room for files is divided among members, so that none takes another's.

Half of it belongs to the members in equal shares. The other half is for whoever needs more than a
share, and no one member gets more than half of that. At a node it is divided among those who send:
whoever floods it fills what it has itself, a quarter of the whole at most beside its share, and
keeps nobody's file waiting. At the hub what one member sends is divided among its recipients:
whoever fetches nothing leaves room for what goes to the others. At a node, where files stay, the
first of all may be as large as the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FULL: Final = "attachments-full"
SHARE_FULL: Final = "attachments-share-full"


@dataclass(frozen=True)
class Room:
    """A room and who may use it.

    Attributes:
        total: All that files may take together; in any one unit, the same everywhere here.
        members: Among whom it is divided, and whoever has something here all the same.
        taken: What each has here; nothing of those who are not named.
    """

    total: int
    members: frozenset[str]
    taken: Mapping[str, int]

    @property
    def share(self) -> int:
        """What each member always has for itself."""
        return self.total // 2 // len(self.members)

    @property
    def common(self) -> int:
        """What is divided to nobody."""
        return self.total - self.share * len(self.members)

    @property
    def most(self) -> int:
        """What one member has at the most, while the others need no more than their shares."""
        return self.share + self.common // 2

    def hindrance(self, member: str, more: int) -> str:
        """Return why `more` of a member has to wait, or an empty string if it need not.

        Whoever is alone, or finds all of it empty, may fill it, for a file that is larger than
        what its sender may have of a small room could never come otherwise. In a room that holds
        little more than that one file it keeps the others out until it is destroyed here: so the
        room is to be large enough that no one file fills it.
        """
        here = sum(self.taken.values())
        free_for_all = here == 0 or len(self.members) == 1
        if not free_for_all and self.exceeds(member, more):
            return SHARE_FULL
        return FULL if here + more > self.total else ""

    def exceeds(self, member: str, more: int) -> bool:
        """Return whether a member would have more than its share and what it may have beside it."""
        beyond = {name: max(0, self.taken.get(name, 0) - self.share) for name in self.members}
        wanted = max(0, self.taken.get(member, 0) + more - self.share)
        others = sum(beyond.values()) - beyond[member]
        return wanted > 0 and (wanted > self.common // 2 or others + wanted > self.common)
