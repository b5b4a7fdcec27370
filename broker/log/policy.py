"""Whom an auditor trusts, and when a checkpoint is witnessed enough. Source: C2SP tlog-policy.

`broker.log.policyfile` reads and writes the file. One thing is stricter here than there: all keys
under the name of a log must have signed, since ours signs with two algorithms for the day one of
them breaks.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.note import Note, parse_note
from broker.log.notekeys import COSIGNATURES, SignatureType, Verified, VKey, verify_note

MAX_EACH: Final = 256  # of logs, of witnesses, of groups; the specification recommends 32 at least
NONE: Final = b"none"
_CODE: Final = "bad-policy"
_SPACE: Final = frozenset(b" \t")
_BARE: Final = frozenset({SignatureType.COSIGNATURE_MLDSA44})  # covers three lines, and no more


@dataclass(frozen=True)
class KnownLog:
    """A key of a log. The name of the key is the origin; a log may have several keys."""

    key: VKey
    url: bytes | None = None


@dataclass(frozen=True)
class Witness:
    """A cosigner. Its name means nothing outside of the policy, and is bytes, not text."""

    name: bytes
    key: VKey
    url: bytes | None = None


@dataclass(frozen=True)
class Group:
    """Witnesses and groups defined before; it has witnessed what `threshold` of them have."""

    name: bytes
    threshold: int
    members: tuple[bytes, ...]


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint that its log signed, and who cosigned it. The quorum is not checked yet.

    Attributes:
        cosigned: Name of each witness and the time that it states, in seconds since 1970.
        note: As received; it may have lines that the policy knows nothing of.
    """

    checkpoint: Checkpoint
    log_signatures: tuple[Verified, ...]
    cosigned: dict[bytes, int]
    note: Note = field(repr=False)

    def require_both(self) -> None:
        """Return if the log signed with both algorithms, as ours does, under keys of the policy.

        The day on which one of them breaks, whoever asked for that one alone has nothing.

        Raises:
            LogError: `one-algorithm`: the policy lists no key of the log for the other.
        """
        made = {each.key.type for each in self.log_signatures}
        for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE_MLDSA44):
            if kind not in made:
                said = f"not signed under a key of type 0x{kind:02x}, of which the policy has none"
                raise LogError("one-algorithm", said)


@dataclass(frozen=True)
class Policy:
    """The auditor's own trust: never from the bundle or the server that is audited.

    Attributes:
        quorum: The witness or group that must have witnessed; None: nobody need have.
    """

    logs: tuple[KnownLog, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: bytes | None

    def __post_init__(self) -> None:
        """Refuse what the file could not say or what has no clear meaning."""
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MAX_EACH:
            raise LogError(_CODE, f"more than {MAX_EACH} logs, witnesses or groups")
        self._check_keys()
        defined = self._check_groups()
        if self.quorum is not None and self.quorum not in defined:
            raise LogError(_CODE, "the quorum is of nobody that is defined")

    def verify_log(self, raw: bytes, *, every_key: bool = True) -> SignedCheckpoint:
        """Return the checkpoint in the note `raw` if a log of this policy signed it.

        Args:
            raw: The note, not trusted.
            every_key: Whether all keys of that log must have signed. Without, any one will do, as
                tlog-policy has it; only for logs of others, who may list an old and a new key. An
                origin that no key is named after may then be any known log's, since a key's name
                only should match it (tlog-checkpoint): the Go checksum database's does not.

        Raises:
            LogError: `bad-note`, `bad-checkpoint`, `bad-hash`; `unknown-log`: an origin without a
                key here; `bad-signature`: a known key's does not verify, a witness's included;
                `unverified`: no known key signed; `log-unsigned`: a signature of the log is
                missing, or one does not cover extension lines; `bad-empty-root`.
        """
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        own = {log.key for log in self.logs if log.key.name == checkpoint.origin}
        if not own and not every_key:
            lines = {(line.name, line.key_id) for line in note.signatures}
            own = {log.key for log in self.logs if (log.key.name, log.key.key_id) in lines}
        if not own:
            raise LogError("unknown-log", f"no key is known for the log {checkpoint.origin!a}")
        entries: list[KnownLog | Witness] = [*self.logs, *self.witnesses]
        keys = tuple(dict.fromkeys(each.key for each in entries))
        verified = verify_note(note, keys)
        by_log = tuple(each for each in verified if each.key in own)
        if not by_log or (every_key and len(by_log) < len(own)):
            raise LogError("log-unsigned", f"{len(by_log)} of {len(own)} keys of the log signed")
        if every_key and checkpoint.extensions and any(key.type in _BARE for key in own):
            raise LogError("log-unsigned", "extension lines, which not all of the log's keys cover")
        checkpoint.check_empty_root()
        return SignedCheckpoint(checkpoint, by_log, self._cosigned(verified), note)

    def require_quorum(self, signed: SignedCheckpoint) -> None:
        """Return if enough witnesses cosigned.

        Raises:
            LogError: `quorum-unmet`; more cosignatures may come, so ask again later.
        """
        if not self.quorum_met(signed.cosigned.keys()):
            raise LogError(
                "quorum-unmet",
                f"{len(signed.cosigned)} of {len(self.witnesses)} witnesses cosigned; "
                "these are no quorum",
                retry="later",
            )

    def check(self, raw: bytes, *, every_key: bool = True) -> SignedCheckpoint:
        """Return the checkpoint in the note `raw`, signed by its log and by a quorum.

        Raises:
            LogError: As `verify_log` and `require_quorum`.
        """
        signed = self.verify_log(raw, every_key=every_key)
        self.require_quorum(signed)
        return signed

    def quorum_met(self, cosigned: AbstractSet[bytes]) -> bool:
        """Whether the witnesses of these names are enough; other names count for nothing."""
        witnessed = {witness.name for witness in self.witnesses if witness.name in cosigned}
        for group in self.groups:  # each after its members
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum is None or self.quorum in witnessed

    def quorum_by(self, cosigned: Mapping[bytes, int]) -> int | None:
        """Return the earliest second by which enough witnesses say that they had cosigned.

        Args:
            cosigned: Name and time, as `SignedCheckpoint` has them.

        Returns:
            None if they are not enough, or if nobody need have cosigned: the log alone says no time
            that anybody could rely on.
        """
        if self.quorum is None:
            return None
        for time_s in sorted(set(cosigned.values())):
            if self.quorum_met({name for name, at_s in cosigned.items() if at_s <= time_s}):
                return time_s
        return None

    def _cosigned(self, verified: tuple[Verified, ...]) -> dict[bytes, int]:
        """Return who cosigned and when; time zero does not claim to have seen no larger tree."""
        times = {each.key: (each.time_ms or 0) // 1000 for each in verified}
        return {each.name: times[each.key] for each in self.witnesses if times.get(each.key)}

    def _check_keys(self) -> None:
        entries: list[KnownLog | Witness] = [*self.logs, *self.witnesses]
        for several in (self.logs, self.witnesses):  # one key may be a log's and a witness's
            if len({each.key.public for each in several}) != len(several):
                raise LogError(_CODE, "one public key twice, be it under two names")
        keys = {each.key for each in entries}
        if len({(key.name, key.key_id) for key in keys}) != len(keys):
            raise LogError(_CODE, "two keys with one name and one key id")
        if any(each.key.type not in COSIGNATURES for each in self.witnesses):
            raise LogError(_CODE, "a witness has a key of type 0x04 or 0x06")
        for each in entries:
            check_item(each.key.name.encode())
            if each.url is not None:
                check_item(each.url)

    def _check_groups(self) -> set[bytes]:
        """Return all names that the quorum may be of."""
        defined = {NONE}
        entries: list[Witness | Group] = [*self.witnesses, *self.groups]
        for each in entries:
            check_item(each.name)
            if each.name in defined:
                raise LogError(_CODE, "a name that is defined twice, or 'none'")
            if isinstance(each, Group):
                _check_members(each, defined)
            defined.add(each.name)
        members = [member for group in self.groups for member in group.members]
        if len(set(members)) != len(members):
            raise LogError(_CODE, "a name that is a member twice")
        return defined - {NONE}


def check_item(item: bytes) -> None:
    """Return if `item` can stand between spaces in a line, whatever bytes above 0x7F it has.

    Raises:
        LogError: `bad-policy`.
    """
    bad = any(byte < 0x20 or byte == 0x7F or byte in _SPACE for byte in item)  # noqa: PLR2004
    if not item or bad:
        raise LogError(_CODE, "an empty name or URL, or one with a space or control in it")


def supermajority(witnesses: int) -> int:
    """Return how many of `witnesses` must cosign so that no two trees are cosigned unseen.

    Any two sets of that many share an honest witness while fewer than a third of them lie.
    """
    return 2 * witnesses // 3 + 1


def _check_members(group: Group, defined: AbstractSet[bytes]) -> None:
    if not 1 <= group.threshold <= len(group.members):
        raise LogError(_CODE, "a group needs at least one and at most all of its members")
    if not defined >= set(group.members) or NONE in group.members:
        raise LogError(_CODE, "a member that is not defined before its group")
