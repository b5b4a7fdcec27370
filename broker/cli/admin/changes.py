"""Changes to the directory as files: drawn up here, signed by ministries, published at the hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker import clock
from broker.errors import BrokerError
from broker.settings import home
from keys.directory.bundle import Bundle
from keys.directory.ceremony import sign_proposal
from keys.directory.client import DirectoryClient
from keys.directory.content import DirectoryContent
from keys.directory.drafting import Draft
from keys.directory.holders import Ministry, load_ministry
from keys.directory.proposal import MAX_PROPOSAL_BYTES, Proposal, parse_proposal
from keys.directory.repository import DirectoryRepository
from keys.directory.trust import TrustedDirectory
from keys.home import Home
from keys.kid import KID_BYTES


@dataclass(frozen=True)
class Base:
    """The directory that a change is drawn up on."""

    content: DirectoryContent
    bundle: Bundle

    def draft(self) -> Draft:
        """Return a new change on it."""
        return Draft(self.content, now=clock.now(), bundle=self.bundle)


def base() -> Base:
    """Return the directory of this home: the hub's, else the node's verified copy.

    Raises:
        BrokerError: `no-directory`.
        KeysError: It does not verify.
    """
    place = Home(home())
    root = place.pinned_root()
    repository = DirectoryRepository(place.directory, pinned_root=root)
    if repository.exists():
        bundle = repository.bundle()
    else:
        copy = DirectoryClient(place.node_directory, pinned_root=root).load()
        if copy is None:
            raise BrokerError("no-directory", f"{home()} holds no directory: run the node once")
        bundle = copy.bundle
    return Base(TrustedDirectory(bundle, pinned_root=root).content, bundle)


def ministry_of(member: str) -> Ministry:
    """Return the member's directory key on this machine.

    Raises:
        KeyFileError: It is not here.
    """
    return load_ministry(Home(home()).ministry(member))


def propose_own(
    member: str, files: Mapping[str, bytes], ask: Callable[[str], bytes], out: Path
) -> None:
    """Write a proposal that changes a member's own files, signed by the member.

    Args:
        member: Whose.
        files: Their new contents.
        ask: As `Ministry.signer`.
        out: Where to write it.

    Raises:
        BrokerError: `exists` or `cannot-write`.
        KeysError: A rule is broken, or the key does not open.
    """
    known = base()
    draft = known.draft()
    draft.put_member_files(member, files)
    signer = ministry_of(member).signer(ask)
    proposal, _ = sign_proposal(draft.proposal(), known.content, signer)
    write_proposal(proposal, out)


def kid_from(text: str) -> bytes:
    """Return the key identifier that a person typed.

    Raises:
        BrokerError: `bad-kid`.
    """
    try:
        kid = bytes.fromhex(text)
    except ValueError:
        kid = b""
    if len(kid) != KID_BYTES:
        raise BrokerError("bad-kid", "an identifier is 32 hexadecimal digits")
    return kid


def write_proposal(proposal: Proposal, out: Path) -> None:
    """Write a proposal to a file that is not there yet.

    Raises:
        BrokerError: `exists` or `cannot-write`.
    """
    try:
        with out.open("xb") as file:
            file.write(proposal.to_bytes())
    except FileExistsError:
        raise BrokerError("exists", f"{out} is there already; choose another name") from None
    except OSError as error:
        raise BrokerError("cannot-write", f"{out} cannot be written") from error


def read_proposal(path: Path) -> Proposal:
    """Return the proposal in a file, which is not trusted.

    Raises:
        BrokerError: `bad-file`.
        DirectoryError: It is no proposal.
    """
    return parse_proposal(read_file(path, MAX_PROPOSAL_BYTES))


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes.

    Raises:
        BrokerError: `bad-file`.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be read") from error
