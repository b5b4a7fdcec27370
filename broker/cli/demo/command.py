"""The command `kentong demo`."""

import asyncio
import logging
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer

from broker.cli import screen
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import NODES, DemoRegion, found
from broker.cli.demo.story import Given, Story, desks
from broker.cli.import_ import read_document
from broker.client import Profile, ProfileBasis, ProfileContact, Profiles
from broker.errors import BrokerError
from schemas.desk import AlertBody, OriginalDocument
from schemas.vocabulary import TLP

_OFFICE = Profile(
    url="unix:///none",
    contact=ProfileContact(function="Duty officer", phones=("+6565550100",)),
    legal_basis=(ProfileBasis(instrument="aseanapol"),),
    language="en",
)


def command(
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="STIX bundle or MISP event to send as the cyber alert."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running, and show commands to try.")
    ] = False,
) -> None:
    """Run a hub and three nodes on this machine and tell a short story with them.

    Everything is real: processes, TLS, keys, policies, kill -9. It takes less than a minute and
    leaves nothing behind.

    Example: kentong demo --from bundle.json
    """
    started = time.monotonic()
    _quiet()
    given = None if from_file is None else _given(from_file)
    folder = Path(tempfile.mkdtemp(prefix="kentong-demo-"))
    try:
        screen.line(
            "Founding a region of four states: keys, policies, a signed directory, a hub"
            " (key stores at the least cost, as this is a demonstration)."
        )
        region = found(folder, log=True)
        asyncio.run(_run(region, given, keep=keep, started=started))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quiet() -> None:
    """Log nothing that goes well: this process tells a story, and the others have their logs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _given(path: Path) -> Given:
    """Return the alert made of a file, with the file itself as its original."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be read") from error
    imported = read_document(raw, _OFFICE)
    body = imported.alert.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    body.pop("original", None)
    original = OriginalDocument(content=raw, media_type=imported.media_type, name=path.name)
    tlp = max(TLP.AMBER, imported.marking.tlp or TLP.AMBER, key=list(TLP).index)
    return Given(AlertBody(type="cyber", body=body), original, tlp)


async def _run(region: DemoRegion, given: Given | None, *, keep: bool, started: float) -> None:
    processes = Processes(region)
    task = asyncio.current_task()
    if task is not None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await processes.start_all()
        pids = ", ".join(f"{name} {pid}" for name, pid in processes.pids().items())
        screen.line(f"Running, each a process of its own, over TLS: {pids}.")
        async with desks(region) as clients:
            await Story(region, processes, clients).tell(given)
        screen.line()
        screen.line(f"Done in {time.monotonic() - started:.0f} seconds.", bold=True)
        if keep:
            await _keep(region)
    finally:
        await processes.stop()


async def _keep(region: DemoRegion) -> None:
    for code in NODES:
        profiles = Profiles.load(region.home(code))
        profiles.add("demo", _profile(region, code))
        profiles.use("demo")
    screen.line("It goes on running. In another terminal, for example:")
    for code, words in (
        ("MY", "inbox"),
        ("MY", "watch"),
        ("SG", "outbox"),
        ("SG", "send --template cyber > alert.yaml"),
    ):
        typer.echo(f"  kentong --home {region.home(code)} {words}")
    screen.line("Ctrl-C stops it and takes everything away.")
    await asyncio.Event().wait()


def _profile(region: DemoRegion, code: str) -> Profile:
    place = region.home(code)
    return Profile(
        url=region.url(code),
        token=region.tokens[code],
        officer_key=str(place / "officers" / f"{code}-7Q4.keystore"),
        passphrase_file=str(region.passphrase_file),
        member=code,
        agency="POLICE",
    )
