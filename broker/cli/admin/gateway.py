"""`kentong gateway`: one worker process; `kentong hub run` starts as many as it is told."""

from datetime import timedelta
from typing import Annotated

import typer

from broker import clock
from broker.admission.quota import Quotas
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import PassphraseFile, passphrase, pin
from broker.gateway.decide import Decider
from broker.gateway.run import child_trial, published, run_worker
from broker.gateway.witnessing import Witnessing
from broker.hub.memory import read_memory
from broker.hub.place import HubPlace
from broker.hub.timekeeping import is_believed
from broker.ledger.place import LedgerPlace
from broker.logs import configure
from broker.monitoring.report import SUFFIX
from broker.settings import home
from broker.store.witnessed import WitnessedAt
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from keys.held import check_tokens

app = typer.Typer(no_args_is_help=True)


@app.callback()
def gateway() -> None:
    """Judge and route what members submit."""


@app.command()
def run(
    worker: Annotated[int, typer.Option(min=1, max=999, help="Number of this worker.")] = 1,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Run one gateway worker until it is told to end.

    Any number of workers share the work; each may be killed at any time.

    Example: kentong gateway run --worker 2 --passphrase-file /etc/kentong/passphrase
    """
    name = f"gateway-{worker}"
    configure(name)
    folder = home()
    place = HubPlace(folder)
    config = place.config()
    secrets = place.open_gateway(passphrase(passphrase_file), pin)
    check_tokens(secrets.key)  # before it takes anything in hand
    decider = Decider(name, secrets.kid, secrets.key, secrets.records)

    def credentials() -> Credentials:
        return secrets.credentials(place, config, name)

    async def work() -> None:
        async with Link(credentials(), credentials) as link:
            await link.wait_connected()
            await run_worker(
                link,
                published(folder, _witnessing(LedgerPlace(folder))),
                decider,
                trial=child_trial(folder),
                quotas=Quotas().shared_by(max(1, config.gateways)),
                runs=place.runs / f"{name}.json",
                lost=lambda: read_memory(place.memory_file).held(clock.now()),
                report=place.reports / f"{name}{SUFFIX}",
                clock_is_good=lambda: is_believed(place.clock_file, clock.reading()),
            )

    run_until_stopped(work())


def _witnessing(place: LedgerPlace) -> Witnessing | None:
    """Return whether the log beside this worker is witnessed; None where there is no log."""
    if not place.config_file.exists():
        return None
    limit = timedelta(hours=place.config().refuse_after_h)
    return Witnessing(WitnessedAt(place.files.folder), limit)
