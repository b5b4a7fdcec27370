"""`kentong log status`: how large the log is, who answers, and how far members stand behind it."""

import asyncio

import typer

from broker import clock
from broker.cli import screen
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.ledger.errors import LedgerError
from broker.ledger.place import LedgerPlace
from broker.ledger.signer_socket import SignerClient
from broker.log.checkpoint import parse_checkpoint
from broker.log.cosignature import instant
from broker.log.errors import LogError
from broker.log.note import parse_note
from broker.log.policy import SignedCheckpoint
from broker.log.regional import regional_policy
from broker.settings import home
from broker.store.tilefiles import COSIGNED
from broker.store.witnessed import WitnessedAt
from keys.directory.source import PublishedDirectory
from keys.errors import KeysError


def status(as_json: AsJSON = False) -> None:
    """Show how large the log is, whether its signer answers, and who witnessed it.

    What stands under no quorum of witnesses is counted as unwitnessed. Ends with 4 if the signer
    does not answer.

    Example: kentong log status
    """
    place = LedgerPlace(home())
    origin = place.config().origin
    raw = place.files.checkpoint()
    published = None if raw is None else parse_checkpoint(parse_note(raw).text)
    signed, cosigned = _signed_size(place), _cosigned(place)
    size = 0 if published is None else published.size
    root = "" if published is None else published.root.hex()
    witnessed = 0 if cosigned is None else cosigned.checkpoint.size
    names = [] if cosigned is None else sorted(name.decode() for name in cosigned.cosigned)
    newest = max(cosigned.cosigned.values(), default=0) if cosigned else 0
    at = instant(newest).isoformat() if newest else None
    last = WitnessedAt(place.files.folder).read()
    if as_json:
        screen.as_json(
            "log-status",
            ok=signed is not None,
            origin=origin,
            size=size,
            root=root,
            signed=signed,
            witnessed=witnessed,
            witnesses=names,
            witnessed_at=at,
            quorum_last_at=last.isoformat() if last else None,
        )
    else:
        never = say("never", "never")
        answers = say("no", "NO") if signed is None else say("yes", "yes")
        screen.table(
            ("", ""),
            [
                (say("log-origin", "log"), origin),
                (say("log-size", "leaves"), str(size)),
                (say("log-root", "root"), root),
                (say("log-signer", "signer answers"), answers),
                (say("log-witnessed", "of them witnessed"), f"{witnessed}: {' '.join(names)}"),
                (say("log-unwitnessed", "unwitnessed"), str(max(0, size - witnessed))),
                (say("log-witnessed-at", "witnessed at"), at or never),
            ],
        )
    if signed is None:
        raise typer.Exit(4)


def _signed_size(place: LedgerPlace) -> int | None:
    try:
        return asyncio.run(SignerClient(place.socket).state())[0]
    except LedgerError:
        return None


def _cosigned(place: LedgerPlace) -> SignedCheckpoint | None:
    """Return the newest checkpoint that a quorum cosigned, by the witnesses of this day."""
    raw = place.files.raw(COSIGNED)
    if raw is None:
        return None
    try:
        policy = regional_policy(PublishedDirectory.at(place.home).view(), at=clock.now())
        return policy.check(raw)
    except (LogError, KeysError):  # nobody watches now, or the set has changed since
        return None
