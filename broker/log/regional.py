"""What a member trusts of its own region's log: the keys and witnesses that the threshold signed.

A node uses this by itself. An auditor writes a policy file of their own, and may begin with the
text of this one, compared with what members say out of band.
"""

from datetime import datetime
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import SEQUENCER
from broker.log.notekeys import SignatureType, VKey
from broker.log.policy import Group, KnownLog, Policy, Witness, supermajority
from keys.directory.view import DirectoryView
from schemas.directory import HubDocument, LogDocument

QUORUM: Final = b"region"


def witness_name(member: str) -> str:
    """Return the key name under which a member's node cosigns."""
    return f"kentong.witness/{member}"


def witness_vkey(member: str, public: bytes) -> VKey:
    """Return the key under which a member's node cosigns, of type 0x06, which binds its name."""
    return VKey(witness_name(member), SignatureType.COSIGNATURE_MLDSA44, public)


def log_vkeys(log: LogDocument) -> tuple[VKey, VKey]:
    """Return the log's two keys; each checkpoint is signed under both."""
    return (
        VKey(log.origin, SignatureType.ED25519, log.ed25519),
        VKey(log.origin, SignatureType.COSIGNATURE_MLDSA44, log.ml_dsa_44),
    )


def regional_policy(view: DirectoryView, *, at: datetime) -> Policy:
    """Return the policy of the region's log as the directory has it for the time `at`.

    The quorum is more than two thirds of all witnesses of the set, those without a key included:
    who cannot cosign makes it no smaller. A region without witnesses asks for none.

    Raises:
        LogError: `no-log`: the region has none. `quorum-impossible`: too few witnesses have a key.
    """
    if view.hub.log is None:
        raise LogError("no-log", "the directory names no log")
    logs = tuple(KnownLog(key) for key in log_vkeys(view.hub.log))
    total, keys = view.witnesses_at(at), view.witness_keys(at=at)
    if not total:
        return Policy(logs, (), (), None)
    witnesses = tuple(
        Witness(code.encode(), witness_vkey(code, public)) for code, public in sorted(keys.items())
    )
    needed = supermajority(len(total))
    if needed > len(witnesses):
        raise LogError("quorum-impossible", f"{len(witnesses)} of {len(total)} witnesses have keys")
    group = Group(QUORUM, needed, tuple(each.name for each in witnesses))
    return Policy(logs, witnesses, (group,), QUORUM)


def leaf_vkeys(hub: HubDocument) -> tuple[VKey, ...]:
    """Return the keys that sign leaves: the gateways', and the sequencer's if there is a log."""
    origin = "gateways" if hub.log is None else hub.log.origin
    found = [
        VKey(f"{origin}/gateway-{number}", SignatureType.ED25519, entry.key)
        for number, entry in enumerate(hub.gateway_keys, start=1)
    ]
    if hub.log is not None:
        found.append(VKey(f"{origin}/{SEQUENCER}", SignatureType.ED25519, hub.log.sequencer))
    return tuple(found)
