"""The hub's settings, `hub/config.toml`: how it listens, and how much it may store."""

from dataclasses import replace
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from broker.hub.clusterserver import HOST_NAME, ClusterServer
from broker.transport.streams import ACK_WAIT_S, Sizes
from schemas.label import Strict

_MIB: Final = 1024 * 1024
_CLUSTERS: Final = (3, 5)
_REPLICAS: Final = 3
Mebibytes = Annotated[int, Field(ge=1, le=64 * 1024 * 1024)]


class StoreSizes(Strict):
    """Most that each stream may take, in MiB; all but `audit` for each member.

    Attributes:
        ack_wait_s: After which a message that a killed reader had in hand is given out again.
        attachment_mib: Sealed chunks of files that a member sends; they lie beside the streams.
            Half is divided among its recipients; of the other half one gets half at most.
    """

    submit_mib: Mebibytes = 128
    inbox_mib: Mebibytes = 512
    held_mib: Mebibytes = 256
    receipt_mib: Mebibytes = 64
    audit_mib: Mebibytes = 2048
    ack_wait_s: Annotated[int, Field(ge=2, le=600)] = ACK_WAIT_S
    attachment_mib: Mebibytes = 4096

    def sizes(self) -> Sizes:
        """Return the same in bytes."""
        return Sizes(
            submit=self.submit_mib * _MIB,
            inbox=self.inbox_mib * _MIB,
            held=self.held_mib * _MIB,
            receipt=self.receipt_mib * _MIB,
            audit=self.audit_mib * _MIB,
            ack_wait_s=self.ack_wait_s,
            attachments=self.attachment_mib * _MIB,
        )


SMALL: Final = StoreSizes(
    submit_mib=32, inbox_mib=64, held_mib=32, receipt_mib=16, audit_mib=128, attachment_mib=256
)
"""For demonstrations and small machines."""


class HubConfig(Strict):
    """`hub/config.toml`.

    Attributes:
        host: Address on which the embedded server listens.
        port: Its port.
        names: DNS names or addresses under which members reach it; the first is in the directory.
        nats_url: A server that others run, with this hub's operator; empty for the embedded one.
        cluster: Servers that keep every stream threefold; none for the embedded server.
        server_disk_mib: What each server of the cluster may take of its own disk for streams; 0
            for what is free on the machine where its files are written.
        gateways: How many gateway workers run beside it.
        metrics_host: Address of the port for monitoring. It carries counts by member: keep it on
            this machine, or in a network of its own.
        metrics_port: That port; 0 for the Unix socket alone.
        store: How much it may store.
    """

    format: Literal[1] = 1
    host: Annotated[str, Field(pattern=HOST_NAME)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 4222
    names: Annotated[
        tuple[Annotated[str, Field(pattern=HOST_NAME)], ...], Field(min_length=1, max_length=16)
    ] = ("localhost", "127.0.0.1")
    nats_url: Annotated[str, Field(max_length=256, pattern=r"^(tls://[!-~]+)?$")] = ""
    cluster: Annotated[tuple[ClusterServer, ...], Field(max_length=5)] = ()
    server_disk_mib: Annotated[int, Field(ge=0, le=64 * 1024 * 1024)] = 0
    gateways: Annotated[int, Field(ge=0, le=64)] = 1
    metrics_host: Annotated[str, Field(pattern=HOST_NAME)] = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    store: StoreSizes = StoreSizes()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cluster and len(self.cluster) not in _CLUSTERS:
            raise ValueError("a cluster has three servers, or five: an even one decides nothing")
        if len({server.name for server in self.cluster}) != len(self.cluster):
            raise ValueError("two servers of a cluster have one name")
        if self.cluster and self.nats_url:
            raise ValueError("a hub has a cluster of its own, or a server of others")
        return self

    @property
    def public_url(self) -> str:
        """Where members connect; of a cluster, every server's, with commas between them."""
        if self.cluster:
            return ",".join(server.url for server in self.cluster)
        return f"tls://{self.names[0]}:{self.port}"

    @property
    def own_urls(self) -> tuple[str, ...]:
        """Where the hub's own processes connect."""
        return tuple((self.nats_url or self.public_url).split(","))

    @property
    def embedded(self) -> bool:
        """Whether the hub starts its server itself."""
        return not (self.nats_url or self.cluster)

    def sizes(self) -> Sizes:
        """Return how much each stream may take, and how many servers keep it."""
        return replace(self.store.sizes(), replicas=_REPLICAS if self.cluster else 1)

    @property
    def server_disk(self) -> int:
        """What each server of the cluster may take, in bytes; 0 where nobody said it."""
        return self.server_disk_mib * _MIB
