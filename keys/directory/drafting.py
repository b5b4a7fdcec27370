"""Drawing up a change to the directory: the next version of each role that it touches.

A draft is made on the verified directory in force, or on nothing when a region is founded. It
signs nothing; what comes out is a `Proposal` for the ceremony.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.content import DirectoryContent
from keys.directory.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    Root,
    TargetFile,
    Targets,
)
from keys.directory.proposal import Application, DirectoryKey, Part, Proposal, proposed_content
from keys.directory.toml_text import region_members_toml
from keys.errors import DirectoryError
from schemas.directory import (
    Lifted,
    RegionMember,
    RegionMembers,
    Revocations,
    WitnessSet,
    json_document,
)


class Draft:
    """One change being drawn up.

    Each role that is touched gets its next version and a new expiry, once.
    """

    def __init__(
        self,
        base: DirectoryContent | None,
        *,
        now: datetime,
        bundle: Bundle | None = None,
    ) -> None:
        """Begin on the directory `base`, whose bytes are `bundle`.

        Args:
            base: Verified; None when a region is founded.
            now: From which new expiries count.
            bundle: Goes into the proposal, so that each ministry sees what it changes.
        """
        self._base = base
        self._bundle = bundle
        self._now = now.replace(microsecond=0)  # TUF times have seconds
        self._root: Root | None = None
        self.region = base.region if base else RegionMembers(members={})
        self._roles: dict[str, Targets] = {}
        self._files: dict[str, bytes] = {}

    def put_files(self, role: str, files: Mapping[str, bytes]) -> None:
        """Let `role` sign these files anew; its others stay."""
        targets = self._touch(role)
        for path, raw in files.items():
            targets.targets[path] = TargetFile.from_data(path, raw, ["sha256"])
            self._files[path] = raw

    def put_member_files(self, code: str, files: Mapping[str, bytes]) -> None:
        """Let a member sign these files of its own anew."""
        self.put_files(layout.member_role(code), files)

    def put_revocations(self, document: Revocations) -> None:
        """Let two members sign this list of suspensions."""
        self.put_files(layout.REVOCATIONS, {layout.REVOCATIONS_FILE: json_document(document)})

    def renew(self, role: str) -> None:
        """Let `role` sign again what it signed, so that it does not lapse."""
        if role == layout.ROOT:
            self._touch_root()
        else:
            self._touch(role)

    def admit(self, application: Application, member: RegionMember, *, holds_root: bool) -> None:
        """Delegate to a new member, and let it sign its first files.

        Args:
            application: What it handed in.
            member: What the region says of it.
            holds_root: Whether its signature counts for the region itself.
        """
        code = application.member
        key = application.key.key()
        self._delegate(code, key)
        members = {**self.region.members, code: member}
        self.put_region(self.region.model_copy(update={"members": members}))
        self.put_member_files(code, {p: t.encode() for p, t in application.files.items()})
        if holds_root:
            self.hold_root(key)

    def put_region(self, region: RegionMembers) -> None:
        """Let the threshold sign who is a member; a group stays, though its last member left."""
        left = self.region.group_names() - region.group_names()
        if left:  # or policies that name it would become void
            groups = tuple(sorted({*region.groups, *left}))
            region = region.model_copy(update={"groups": groups})
        self.region = region
        self.put_files(layout.TARGETS, {layout.MEMBERS_FILE: region_members_toml(region)})

    def set_witnesses(self, members: Sequence[str]) -> None:
        """Let these members witness the log from now on; past sets stay.

        Raises:
            DirectoryError: `unknown-member`, or `witness-set-exists`: one begins now or later.
        """
        if unknown := set(members) - set(self.region.members):
            raise DirectoryError("unknown-member", f"no such member: {', '.join(sorted(unknown))}")
        before = self.region.witness_sets
        if before and before[-1].since >= self._now:
            raise DirectoryError("witness-set-exists", "a set of witnesses begins later than this")
        added = WitnessSet(since=self._now, members=tuple(sorted(members)))
        self.put_region(self.region.model_copy(update={"witness_sets": (*before, added)}))

    def hold_root(self, key: Key) -> None:
        """Let the holder of `key` sign for the region."""
        root = self._touch_root()
        for role in (layout.ROOT, layout.TARGETS):
            root.add_key(key, role)

    def set_threshold(self, threshold: int) -> None:
        """Let the region's own roles need this many signatures."""
        root = self._touch_root()
        for role in (layout.ROOT, layout.TARGETS):
            root.roles[role].threshold = threshold

    def set_online_keys(self, *, snapshot: Key, timestamp: Key) -> None:
        """Let the hub sign snapshots and timestamps with these keys and no others."""
        root = self._touch_root()
        for role, key in ((layout.SNAPSHOT, snapshot), (layout.TIMESTAMP, timestamp)):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            root.add_key(key, role)

    @property
    def root_holders(self) -> int:
        """How many members' signatures count for the region itself."""
        return len(self._touch_root().roles[layout.ROOT].keyids)

    def replace_key(self, code: str, new: DirectoryKey) -> None:
        """Replace a member's directory key, everywhere where it counts.

        Raises:
            DirectoryError: `unknown-member`.
        """
        if self._base is None or code not in self._base.owners:
            raise DirectoryError("unknown-member", "no such member in the directory")
        old, key = self._base.owners[code], new.key()
        targets = self._touch(layout.TARGETS)
        for role in (layout.member_role(code), layout.REVOCATIONS):
            targets.revoke_key(old, role)
            targets.add_key(key, role)
            self._touch(role)
        if old in self._base.root.roles[layout.ROOT].keyids:
            root = self._touch_root()
            for role in (layout.ROOT, layout.TARGETS):
                root.revoke_key(old, role)
                root.add_key(key, role)

    def expel(self, code: str, revocations: Revocations) -> None:
        """Take from a member its seat, its groups and its flags; its keys stay, to judge the past.

        Args:
            code: The member.
            revocations: All suspensions, with that of this member as a whole.

        Raises:
            DirectoryError: `unknown-member`, or `too-few-holders`: without it the threshold could
                not be reached; change the threshold or admit another holder first.
        """
        if self._base is None or code not in self._base.owners:
            raise DirectoryError("unknown-member", "no such member in the directory")
        bare = RegionMember(kind=self.region.members[code].kind)
        members = {**self.region.members, code: bare}
        self.put_region(self.region.model_copy(update={"members": members}))
        self.put_revocations(revocations)
        key = self._base.owners[code]
        if key not in self._base.root.roles[layout.ROOT].keyids:
            return
        root = self._touch_root()
        for role in (layout.ROOT, layout.TARGETS):
            if len(root.roles[role].keyids) <= root.roles[role].threshold:
                raise DirectoryError("too-few-holders", "too few would be left to sign")
            root.revoke_key(key, role)

    def lift(self, code: str) -> None:
        """Let the threshold lift every suspension of a member and of its keys.

        Raises:
            DirectoryError: `not-suspended`.
        """
        standing = self._base.suspensions() if self._base else ()
        lifted = [Lifted(member=e.member, kid=e.kid, at=e.at) for e in standing if e.member == code]
        if not lifted:
            raise DirectoryError("not-suspended", f"nothing of {code} is suspended")
        all_lifted = (*self.region.lifted, *lifted)
        self.put_region(self.region.model_copy(update={"lifted": all_lifted}))

    def proposal(self) -> Proposal:
        """Return what was drawn up, checked by every rule that needs no signature.

        Raises:
            DirectoryError: A rule is broken, or nothing changes.
        """
        parts = [Part(role=n, metadata=_text(Metadata(r))) for n, r in sorted(self._roles.items())]
        if self._root is not None:
            parts.insert(0, Part(role=layout.ROOT, metadata=_text(Metadata(self._root))))
        if not parts:
            raise DirectoryError("nothing-changed", "there is nothing to propose")
        proposal = Proposal(
            base=self._bundle,
            parts=tuple(parts),
            files={path: raw.decode() for path, raw in self._files.items()},
        )
        proposed_content(proposal, self._base)
        return proposal

    def _touch(self, role: str) -> Targets:
        if role not in self._roles:
            old = self._old(role)
            targets = Targets.from_dict(copy.deepcopy(old.to_dict())) if old else Targets()
            targets.version = old.version + 1 if old else 1
            targets.expires = self._now + _lifetime(role)
            self._roles[role] = targets
        return self._roles[role]

    def _old(self, role: str) -> Targets | None:
        if self._base is None:
            return None
        return self._base.targets if role == layout.TARGETS else self._base.roles.get(role)

    def _touch_root(self) -> Root:
        if self._root is None:
            old = self._base.root if self._base else None
            root = Root.from_dict(copy.deepcopy(old.to_dict())) if old else Root()
            root.version = old.version + 1 if old else 1
            root.expires = self._now + layout.ROOT_LASTS
            root.consistent_snapshot = True
            self._root = root
        return self._root

    def _delegate(self, code: str, key: Key) -> None:
        targets = self._touch(layout.TARGETS)
        roles = dict(targets.delegations.roles or {}) if targets.delegations else {}
        keys = dict(targets.delegations.keys) if targets.delegations else {}
        name = layout.member_role(code)
        if name in roles:
            raise DirectoryError("member-exists", f"{code} is a member already")
        keys[key.keyid] = key
        roles[name] = DelegatedRole(
            name, [key.keyid], 1, terminating=True, paths=[layout.member_pattern(code)]
        )
        suspending = roles.pop(layout.REVOCATIONS, None)
        roles[layout.REVOCATIONS] = DelegatedRole(
            layout.REVOCATIONS,
            [*(suspending.keyids if suspending else []), key.keyid],
            layout.REVOCATIONS_THRESHOLD,
            terminating=True,
            paths=[layout.REVOCATIONS_FILE],
        )
        targets.delegations = Delegations(keys=keys, roles=roles)


def _text(metadata: "Metadata[Root] | Metadata[Targets]") -> str:
    return metadata.to_bytes().decode()


def _lifetime(role: str) -> timedelta:
    return layout.TARGETS_LASTS if role == layout.TARGETS else layout.DELEGATION_LASTS
