"""A whole region in one folder, founded as ministries would found it, in a few seconds."""

import asyncio
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from broker import clock
from broker.api.tokens import Scope, TokenBook
from broker.cli.admin.log import found_log
from broker.cli.admin.node_place import NodeConfig, NodePlace
from broker.hub.clusterserver import ClusterServer
from broker.hub.founding import init_hub, write_cluster
from broker.hub.place import HubPlace
from broker.hub.settings import SMALL, HubConfig
from broker.ledger.place import LedgerConfig
from keys.directory.founding import Founder, found_region
from keys.files import make_private_folder, write_private
from keys.home import Home
from keys.officers import OfficerKey, load_officer_key
from schemas.directory import (
    HubDocument,
    MemberKind,
    OfficerRole,
    RegionMember,
    parse_toml_document,
)

NODES: Final = ("SG", "MY", "VN")  # TH is a member too, whose node is not needed here
ORIGIN: Final = "log.example/kentong-demo"
ROUND_S: Final = 1.0  # ten, outside of a demonstration
COMPARE_S: Final = 1  # ten minutes, likewise
ACK_WAIT_S: Final = 5  # 45, likewise: what a killed worker had in hand is soon given to the next
LOG2N: Final = 15  # the least that a key store may cost: a demonstration says so
NAMES: Final = {"SG": "Singapore", "MY": "Malaysia", "VN": "Viet Nam", "TH": "Thailand"}


@dataclass(frozen=True)
class DemoRegion:
    """Where everything of the demonstration lies.

    Attributes:
        tokens: Each node's token for its desk.
        nodes: The members that run a node here.
    """

    folder: Path
    passphrase: bytes
    tokens: dict[str, str]
    nodes: tuple[str, ...] = NODES

    @property
    def passphrase_file(self) -> Path:
        """Opens every key store of the demonstration."""
        return self.folder / "passphrase"

    @property
    def hub(self) -> Path:
        """The hub's home folder."""
        return self.folder / "hub-home"

    def home(self, code: str) -> Path:
        """Return a member's home folder."""
        return self.folder / code

    def url(self, code: str) -> str:
        """Return where desks of a member ask."""
        return f"unix://{NodePlace(self.home(code)).socket}"

    def officer(self, code: str) -> OfficerKey:
        """Return the key of a member's officer."""
        return load_officer_key(Home(self.home(code)).officer(officer_of(code)), self.passphrase)


def officer_of(code: str) -> str:
    """Return the pseudonym of a member's officer."""
    return f"{code}-7Q4"


def policies() -> Path:
    """Return the folder of the policies to start from."""
    installed = Path(__file__).parent / "policies"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "deploy" / "policies"


def found(
    folder: Path,
    *,
    log: bool = False,
    nodes: tuple[str, ...] = NODES,
    gateways: int = 1,
    servers: int = 0,
    unlinked: tuple[str, ...] = (),
    silent: tuple[str, ...] = ("TH",),
    at: datetime | None = None,
) -> DemoRegion:
    """Make keys, policies, directory, hub and nodes in `folder`.

    Args:
        folder: New.
        log: Whether the hub keeps the log of decisions, which the nodes then witness.
        nodes: The members that run one.
        gateways: Workers of the hub.
        servers: Of a cluster that others start; none for the hub's own server.
        unlinked: Those of `nodes` whose mail is carried by file; they witness no log.
        silent: Members that run none.
        at: When they are founded; None: now.

    Raises:
        KeysError: A file cannot be written.
    """
    make_private_folder(folder)
    passphrase = secrets.token_urlsafe(24).encode()
    write_private(folder / "passphrase", passphrase + b"\n")
    hub_home, now = folder / "hub-home", at or clock.now()
    hub_home.mkdir(mode=0o700)
    store = SMALL.model_copy(update={"ack_wait_s": ACK_WAIT_S})
    config = HubConfig(port=_free_port(), store=store, gateways=gateways, cluster=_cluster(servers))
    document = init_hub(hub_home, passphrase, config, now=now, log2n=LOG2N)
    write_cluster(HubPlace(hub_home), config, HubPlace(hub_home).open_hub(passphrase), now=now)
    if log:
        path = found_log(
            hub_home, passphrase, LedgerConfig(origin=ORIGIN, round_s=ROUND_S), log2n=LOG2N
        )
        document = parse_toml_document(HubDocument, path.read_bytes())
    founders = [founder(folder, code) for code in dict.fromkeys((*nodes, *silent))]
    found_region(
        founders,
        hub_home=hub_home,
        hub=document,
        agreement=(policies() / "agreement.toml").read_bytes(),
        passphrase=passphrase,
        now=now,
        witnesses=tuple(code for code in nodes if code not in unlinked),
        log2n=LOG2N,
    )
    authority = HubPlace(hub_home).authority_pem().encode()
    tokens: dict[str, str] = {}
    for code in nodes:
        place = NodePlace(folder / code)
        url = "" if code in unlinked else config.public_url
        place.write(NodeConfig(member=code, hub_url=url, log_compare_s=COMPARE_S), authority)
        tokens[code] = asyncio.run(desk_token(place))
    return DemoRegion(folder, passphrase, tokens, nodes)


def founder(folder: Path, code: str) -> Founder:
    """Return a member that founds the region, with its home folder made and one officer."""
    home = folder / code
    make_private_folder(home)
    make_private_folder(NodePlace(home).folder)
    return Founder(
        code,
        home,
        (policies() / f"{code}.toml").read_bytes(),
        officers={officer_of(code): (OfficerRole.OFFICER,)},
        names={"en": NAMES.get(code, code)},
        region=RegionMember(kind=MemberKind.STATE, groups=("asean",)),
    )


def _cluster(servers: int) -> tuple[ClusterServer, ...]:
    return tuple(
        ClusterServer(
            name=f"hub-{number}", host="localhost", port=_free_port(), cluster_port=_free_port()
        )
        for number in range(1, servers + 1)
    )


async def desk_token(place: NodePlace) -> str:
    """Return a token with every scope, added to the node in `place`."""
    async with place.database() as database:
        book = TokenBook(database)
        _, token = await book.add("demo", frozenset(Scope), now=clock.now())
    return token


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
