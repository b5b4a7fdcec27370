"""Names, bounds and lifetimes of the directory's files: one place for all numbers.

Source: The Update Framework specification 1.0, with consistent snapshots.
"""

import re
from datetime import timedelta
from typing import Final

from keys.errors import DirectoryError

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
REVOCATIONS: Final = "revocations"
_MEMBER_ROLE: Final = "member-"

MEMBERS_FILE: Final = "region/members.toml"
HUB_FILE: Final = "region/hub.toml"
AGREEMENT_FILE: Final = "region/agreement.toml"
REVOCATIONS_FILE: Final = "region/revocations.json"
REGION_FILES: Final = frozenset({MEMBERS_FILE, HUB_FILE, AGREEMENT_FILE})

MAX_ROOT_BYTES: Final = 256 * 1024
MAX_TIMESTAMP_BYTES: Final = 16 * 1024
MAX_SNAPSHOT_BYTES: Final = 64 * 1024
MAX_TARGETS_BYTES: Final = 512 * 1024
MAX_ROLE_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 512 * 1024  # any target file; as schemas.directory bounds its documents
MAX_ROOT_ROTATIONS: Final = 64  # roots that one refresh walks through

REVOCATIONS_THRESHOLD: Final = 2
ROOT_LASTS: Final = timedelta(days=365)
TARGETS_LASTS: Final = timedelta(days=90)
DELEGATION_LASTS: Final = timedelta(days=30)  # how long a hostile hub can hide a member's change
SNAPSHOT_LASTS: Final = timedelta(days=7)
TIMESTAMP_LASTS: Final = timedelta(hours=1)
ROOT_ALARM: Final = timedelta(days=30)
TARGETS_ALARM: Final = timedelta(days=10)
DELEGATION_ALARM: Final = timedelta(days=10)


def member_role(code: str) -> str:
    """Return the name of the delegated role that alone signs for member `code`."""
    return _MEMBER_ROLE + code


def member_of(role: str) -> str | None:
    """Return whose role it is, or None if it is no member's."""
    return role[len(_MEMBER_ROLE) :] if role.startswith(_MEMBER_ROLE) else None


def alarm_before(role: str) -> timedelta | None:
    """Return how long before it expires a role must be signed again; None: the hub does that."""
    if role in {TIMESTAMP, SNAPSHOT}:
        return None
    return {ROOT: ROOT_ALARM, TARGETS: TARGETS_ALARM}.get(role, DELEGATION_ALARM)


def member_pattern(code: str) -> str:
    """Return the only path pattern that the role of `code` may sign."""
    return f"members/{code}/*"


def member_files(code: str) -> tuple[str, str, str]:
    """Return the paths of a member's document, policy and officers, and there are no others."""
    return (
        f"members/{code}/member.json",
        f"members/{code}/policy.toml",
        f"members/{code}/officers.json",
    )


def metadata_path(role: str, version: int) -> str:
    """Return where the repository keeps version `version` of a role's metadata."""
    return f"metadata/{role}.json" if role == TIMESTAMP else f"metadata/{version}.{role}.json"


def target_path(path: str, sha256_hex: str) -> str:
    """Return where the repository keeps the target `path` with this hash."""
    folder, _, name = path.rpartition("/")
    return f"targets/{folder}/{sha256_hex}.{name}"


_FETCHABLE: Final = re.compile(
    r"metadata/(timestamp|[1-9][0-9]{0,9}\.[A-Za-z0-9-]{1,32})\.json"
    r"|targets/(region|members/[A-Z0-9-]{2,16})/[0-9a-f]{64}\.[a-z]{1,16}\.(toml|json)"
)


def check_fetchable(path: str) -> None:
    """Return if `path`, which a stranger may have written, is one that the directory can have.

    Raises:
        DirectoryError: `bad-path`.
    """
    if not _FETCHABLE.fullmatch(path):
        raise DirectoryError("bad-path", "no file of the directory is called so")
