"""What an auditor asks, by options: whom to trust, what was kept before, how old is too old."""

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from broker import clock
from broker.audit.bundle import CHECKPOINT, Bundle, Layered, is_bundle, opened
from broker.audit.leafread import LeafKey
from broker.audit.verify import Audited, Auditor
from broker.cli.admin.audit_output import progress_bar, unreadable
from broker.errors import BrokerError
from broker.log.errors import LogError
from broker.log.leaf import SEQUENCER
from broker.log.note import MAX_NOTE_BYTES
from broker.log.notekeys import SignatureType, parse_vkey
from broker.log.policy import Policy
from broker.log.policyfile import MAX_POLICY_BYTES, parse_policy
from keys.primitives.hashing import sha256

PolicyFile: TypeAlias = Annotated[
    Path, typer.Option("--policy", help="Your own trust: log and witness keys, and the quorum.")
]
GatewayFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--gateways", help="Keys of gateways, one vkey a line; else not checked."),
]
Since: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A checkpoint or a bundle that you kept: it must lead to this one."),
]
MaxAge: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Most minutes since the witnesses cosigned.")
]
Processes: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="How many check signatures; one for each core.")
]


@dataclass(frozen=True)
class Question:
    """The options of a verification."""

    policy: Path
    gateways: Path | None = None
    since: Path | None = None
    max_age: int | None = None
    processes: int | None = None
    tiles_only: bool = False

    def answer(self, bundle: Path, schema: str, *, as_json: bool) -> tuple[Audited, Policy]:
        """Return what was found about a bundle, and by whose trust.

        Args:
            bundle: Folder or tar.
            schema: What the command prints as JSON, if it is asked for JSON.
            as_json: Whether a program reads what is printed.

        Raises:
            typer.Exit: With 2: something cannot be read, and it was said what.
        """
        try:
            policy, policy_hash = read_policy(self.policy)
            gateways = () if self.gateways is None else _gateways(self.gateways)
            with ExitStack() as stack:
                files, kept = self._files(bundle, stack)
                auditor = Auditor(
                    policy,
                    policy_hash,
                    gateways,
                    None if self.max_age is None else timedelta(minutes=self.max_age),
                    tiles_only=self.tiles_only,
                    processes=self.processes or _cores(),
                    progress=stack.enter_context(progress_bar()),
                )
                return auditor.verify(files, now=clock.now(), since=kept), policy
        except BrokerError as error:
            raise unreadable(error, schema, as_json=as_json) from error

    def _files(self, bundle: Path, stack: ExitStack) -> tuple[Bundle, bytes]:
        """Return the bundle, completed by an earlier one if there is one, and the kept note."""
        files = stack.enter_context(opened(bundle))
        if self.since is None:
            return files, b""
        if not is_bundle(self.since):
            return files, read_whole(self.since, MAX_NOTE_BYTES)
        earlier = stack.enter_context(opened(self.since))
        note = earlier.read(CHECKPOINT)
        if note is None:
            raise BrokerError("bad-bundle", f"{self.since} has no checkpoint")
        return Layered(files, earlier), note


def read_policy(path: Path) -> tuple[Policy, bytes]:
    """Return the policy in a file, and the SHA-256 of the file.

    Raises:
        BrokerError: `bad-file`, or what `parse_policy` raises.
    """
    raw = read_whole(path, MAX_POLICY_BYTES)
    return parse_policy(raw), sha256(raw)


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes.

    Raises:
        BrokerError: `bad-file`: it cannot be read, or is larger than that.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be read") from error
    if len(raw) > max_bytes:
        raise BrokerError("bad-file", f"{path} has more than {max_bytes} bytes")
    return raw


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _gateways(path: Path) -> tuple[LeafKey, ...]:
    """Return the keys in a file, one vkey a line. The log's own has a name like no gateway's."""
    try:
        keys = [parse_vkey(line) for line in read_whole(path, MAX_POLICY_BYTES).decode().split()]
    except (LogError, UnicodeDecodeError) as error:
        raise BrokerError("bad-vkey", f"{path}: {error}") from None
    found = {
        LeafKey(key.public, of_log=key.name.endswith(f"/{SEQUENCER}"))
        for key in keys
        if key.type is SignatureType.ED25519
    }
    if not found:
        raise BrokerError("bad-vkey", f"{path} has no key of a gateway")
    if len({key.raw for key in found}) != len(found):
        raise BrokerError("bad-vkey", f"{path} has one key for a gateway and for the log")
    return tuple(sorted(found, key=lambda key: key.raw))
