"""The shape that the directory's roles must have. Rules 3 to 6 of `keys.directory.trust`."""

from collections.abc import Mapping
from functools import partial

from keys.directory import layout
from keys.directory.metadata import DelegatedRole, Delegations, Key, Role, Root, checked
from keys.directory.signers import key_id
from keys.errors import DirectoryError


def check_key_names(keys: Mapping[str, Key]) -> None:
    """Return if every key is called by its own kid, so that none counts twice.

    Raises:
        DirectoryError: `wrong-key`.
    """
    for keyid, key in keys.items():
        name = checked(partial(key_id, key), code="wrong-key", message="a key is unreadable")
        if name != keyid:
            raise DirectoryError("wrong-key", "a key is not called by its own identifier")


def member_keys(delegations: Delegations | None) -> dict[str, str]:
    """Return the key of each member delegated to, after checking every delegation.

    Raises:
        DirectoryError: `wrong-delegation` or `wrong-key`.
    """
    if delegations is None or delegations.roles is None:
        raise DirectoryError("wrong-delegation", "the directory delegates to nobody")
    check_key_names(delegations.keys)
    owned: dict[str, str] = {}
    for role in delegations.roles.values():
        code = layout.member_of(role.name)
        if code is not None:
            owned[code] = _member_key(role, code)
        elif role.name != layout.REVOCATIONS:
            raise DirectoryError("wrong-delegation", f"nobody may be delegated {role.name}")
    if len(set(owned.values())) != len(owned):
        raise DirectoryError("wrong-delegation", "two members share a key")
    _check_revocations(delegations.roles.get(layout.REVOCATIONS), set(owned.values()))
    return owned


def check_top_level(root: Root, *, members: set[str]) -> None:
    """Return if root and targets stand under a threshold of members, and no member key is online.

    Raises:
        DirectoryError: `wrong-root`.
    """
    signing: Role = root.roles[layout.ROOT]
    targets: Role = root.roles[layout.TARGETS]
    if not root.consistent_snapshot or set(signing.keyids) != set(targets.keyids):
        raise DirectoryError("wrong-root", "root and targets stand under different keys")
    if not set(signing.keyids) <= members:
        raise DirectoryError("wrong-root", "a key of the root belongs to no member")
    least = min(2, len(signing.keyids))
    if signing.threshold < least or targets.threshold < least:
        raise DirectoryError("wrong-root", "one member alone could change the region")
    online = {*root.roles[layout.SNAPSHOT].keyids, *root.roles[layout.TIMESTAMP].keyids}
    if online & members:
        raise DirectoryError("wrong-root", "a member's key is used online at the hub")


def _member_key(role: DelegatedRole, code: str) -> str:
    if role.paths != [layout.member_pattern(code)] or not role.terminating:
        raise DirectoryError("wrong-delegation", f"the role of {code} reaches beyond its files")
    if len(role.keyids) != 1 or role.threshold != 1:
        raise DirectoryError("wrong-delegation", f"the role of {code} has not exactly one key")
    return role.keyids[0]


def _check_revocations(role: DelegatedRole | None, members: set[str]) -> None:
    if role is None or role.paths != [layout.REVOCATIONS_FILE] or not role.terminating:
        raise DirectoryError("wrong-delegation", "revocations are not delegated as they must be")
    if role.threshold != layout.REVOCATIONS_THRESHOLD or set(role.keyids) != members:
        raise DirectoryError("wrong-delegation", "not any two members can suspend")
