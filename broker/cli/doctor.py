"""`kentong doctor`: finds out what is wrong, in the order in which things depend on each other."""

from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import typer

import broker
import keys
import schemas
from broker.cli import screen
from broker.cli.desk import AsJSON, ask, client
from broker.cli.errors import sentence
from broker.cli.text import phrase, say
from broker.cli.words import reason
from broker.client import Profiles, signer_of
from broker.errors import BrokerError
from broker.settings import home
from schemas.desk import NodeStatus

Finding = tuple[str, bool, str]

_NAMES: Final = dict(
    (
        phrase("doctor-packages", "packages"),
        phrase("doctor-home", "home"),
        phrase("doctor-profile", "profile"),
        phrase("doctor-officer-key", "officer-key"),
        phrase("doctor-node", "node"),
        phrase("doctor-alarms", "alarms"),
    )
)


def command(as_json: AsJSON = False) -> None:
    """Find out what is wrong. Ends with 1 if anything is.

    Example: kentong doctor
    """
    findings: list[Finding] = []
    for name, check in _CHECKS.items():
        findings.append(_try(name, check))
        if not findings[-1][1] and name in {"home", "profile"}:
            break
    well = all(good for _, good, _ in findings)
    if as_json:
        shown = [{"check": n, "ok": g, "detail": d} for n, g, d in findings]
        screen.as_json("doctor", ok=well, findings=shown)
    else:
        screen.table(
            (say("head-check", "check"), "", ""),
            [(_name(name), _verdict(good=good), detail) for name, good, detail in findings],
        )
    if not well:
        raise typer.Exit(1)


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return name, True, check()
    except BrokerError as error:
        return name, False, f"{sentence(error)} [{error.code}]"


def _name(check: str) -> str:
    key = f"doctor-{check}"
    return say(key, _NAMES[key])


def _verdict(*, good: bool) -> str:
    return say("finding-well", "ok") if good else say("finding-wrong", "WRONG")


def _packages() -> str:
    owners = packages_distributions()
    for module in (broker, schemas, keys):
        found = set(owners.get(module.__name__, ["kentong"]))
        if found != {"kentong"}:
            others = ", ".join(sorted(found - {"kentong"}))
            raise BrokerError(
                "package-overwritten",
                f"the package {module.__name__} also comes from {others}: use an environment"
                " of its own",
            )
    return str(Path(broker.__file__ or "").parent)


def _home() -> str:
    folder = home()
    if not folder.is_dir():
        raise BrokerError("no-home", f"{folder} does not exist: set KENTONG_HOME or --home")
    return str(folder)


def _profile() -> str:
    return Profiles.load().get().url


def _key() -> str:
    signer = ask(signer_of(Profiles.load().get()))
    return f"{signer.member} {signer.kid.hex()}"


def _status() -> NodeStatus:
    async def work() -> NodeStatus:
        async with client() as desk:
            return await desk.node_status()

    return ask(work())


def _alarms() -> str:
    raised = _status().alarms
    if raised:
        named = {f"{alarm.code} {alarm.peer or ''}".rstrip() for alarm in raised}
        codes = ", ".join(sorted(named))
        raise BrokerError("alarms", f"{codes}: see kentong status and kentong witness status")
    return say("no-alarms", "none")


def _node() -> str:
    status = _status()
    if status.sealing:
        raise BrokerError(status.sealing, reason(status.sealing))
    if not status.connected:
        raise BrokerError("hub-unreachable", reason("hub-unreachable"))
    return say("node-well", "member {member}, connected", member=status.member)


_CHECKS: Final[dict[str, Callable[[], str]]] = {
    "packages": _packages,
    "home": _home,
    "profile": _profile,
    "officer-key": _key,
    "node": _node,
    "alarms": _alarms,
}
"""Each stands on those before it."""
