"""A region of eleven members in one folder, founded by the real ceremonies, and its private keys.

Every member has the policy of `deploy/policies`, so what is measured is judged by real rules. The
auditors have a key too: each decision's opening is sealed to it, as in a region at work.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from broker import clock
from broker.api.tokens import Scope, TokenBook
from broker.cli.admin.log import found_log
from broker.cli.admin.node_place import NodeConfig, NodePlace
from broker.cli.demo.region import LOG2N, founder, officer_of, policies
from broker.hub.founding import init_hub
from broker.hub.place import GatewaySecrets, HubPlace
from broker.hub.settings import HubConfig, StoreSizes
from broker.ledger.place import LedgerConfig
from keys.directory.founding import found_region
from keys.directory.source import PublishedDirectory
from keys.directory.view import DirectoryView
from keys.files import make_private_folder, write_private
from keys.home import Home
from keys.identity import MemberIdentity
from keys.officers import OfficerKey, load_officer_key
from keys.primitives.sealing import OpenKey
from schemas.directory import (
    HubDocument,
    parse_toml_document,
)
from schemas.vocabulary import ASEAN
from tests.support.hub import free_port

PASSPHRASE = b"a passphrase for nothing"
ORIGIN = "log.example/kentong-bench"
DESKS = 16  # of each member: how often one may ask is bounded, which is not what is measured
SIZES = StoreSizes(submit_mib=512, inbox_mib=512, held_mib=16, receipt_mib=256, audit_mib=16384)


@dataclass(frozen=True)
class BenchRegion:
    """Where everything of one region lies.

    Attributes:
        tokens: Each node's tokens, one for each of its desks.
    """

    folder: Path
    codes: tuple[str, ...]
    tokens: dict[str, tuple[str, ...]]

    @property
    def hub(self) -> Path:
        return self.folder / "hub-home"

    @property
    def passphrase_file(self) -> Path:
        return self.folder / "passphrase"

    @cached_property
    def view(self) -> DirectoryView:
        return PublishedDirectory.at(self.hub).view()

    @cached_property
    def gateway(self) -> GatewaySecrets:
        return HubPlace(self.hub).open_gateway(PASSPHRASE)

    @cached_property
    def identities(self) -> dict[str, MemberIdentity]:
        return {
            code: MemberIdentity.load(Home(self.home(code)).node_keys, PASSPHRASE)
            for code in self.codes
        }

    @cached_property
    def officers(self) -> dict[str, OfficerKey]:
        return {
            code: load_officer_key(Home(self.home(code)).officer(officer_of(code)), PASSPHRASE)
            for code in self.codes
        }

    def home(self, code: str) -> Path:
        return self.folder / code

    def url(self, code: str) -> str:
        return f"unix://{NodePlace(self.home(code)).socket}"


def found(
    folder: Path, codes: Sequence[str] = tuple(sorted(ASEAN)), *, log: bool = False
) -> BenchRegion:
    """Found a region whose hub is started part by part: its server and workers are not the hub's.

    Args:
        folder: New; short, since sockets lie in it.
        codes: The members.
        log: Whether the hub has a log, which all members witness.
    """
    make_private_folder(folder)
    write_private(folder / "passphrase", PASSPHRASE + b"\n")
    hub_home, now, port = folder / "hub-home", clock.now(), free_port()
    hub_home.mkdir(mode=0o700)
    config = HubConfig(port=port, nats_url=f"tls://localhost:{port}", gateways=0, store=SIZES)
    document = init_hub(hub_home, PASSPHRASE, config, now=now, log2n=LOG2N)
    if log:
        path = found_log(hub_home, PASSPHRASE, LedgerConfig(origin=ORIGIN), log2n=LOG2N)
        document = parse_toml_document(HubDocument, path.read_bytes())
    auditors = OpenKey.generate().public.raw
    found_region(
        [founder(folder, code) for code in codes],
        hub_home=hub_home,
        hub=document.model_copy(update={"auditors_key": auditors}),
        agreement=(policies() / "agreement.toml").read_bytes(),
        passphrase=PASSPHRASE,
        now=now,
        log2n=LOG2N,
    )
    authority = HubPlace(hub_home).authority_pem().encode()
    tokens: dict[str, tuple[str, ...]] = {}
    for code in codes:
        place = NodePlace(folder / code)
        place.write(NodeConfig(member=code, hub_url=config.public_url), authority)
        tokens[code] = asyncio.run(_desk_tokens(place))
    return BenchRegion(folder, tuple(codes), tokens)


async def _desk_tokens(place: NodePlace) -> tuple[str, ...]:
    """Tokens with every scope, each of a desk of its own."""
    async with place.database() as database:
        book, made = TokenBook(database), []
        for number in range(DESKS):
            _, token = await book.add(f"desk-{number}", frozenset(Scope), now=clock.now())
            made.append(token)
    return tuple(made)
