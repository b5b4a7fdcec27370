"""One of the servers that together keep the hub's streams, as the hub's settings name it."""

from typing import Annotated, Final

from pydantic import Field

from schemas.label import Strict

HOST_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$"


class ClusterServer(Strict):
    """One server of the hub's cluster.

    Attributes:
        name: Short, of letters, digits and hyphens; its files lie in `servers/<name>`.
        host: Under which members and the other servers reach it, and on which it listens.
        port: For members.
        cluster_port: For the other servers.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    host: Annotated[str, Field(pattern=HOST_NAME)]
    port: Annotated[int, Field(ge=1, le=65535)] = 4222
    cluster_port: Annotated[int, Field(ge=1, le=65535)] = 6222

    @property
    def url(self) -> str:
        """Where members connect."""
        return f"tls://{self.host}:{self.port}"
