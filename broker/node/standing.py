"""Says at each reading which keys behind a kept alert were revoked after it arrived."""

from collections.abc import Callable

from broker.errors import BrokerError
from broker.node.present import Present
from keys.directory.validity import Standing
from keys.errors import DirectoryError
from schemas.desk import InboxItem

KEY_ENDED = "key-revoked-since"
OFFICER_ENDED = "officer-revoked-since"


def as_known_now(item: InboxItem, kid: bytes, present: Present) -> InboxItem:
    """Return `item` with what the directory held now says of its keys.

    What was shown once stays: a warning is never taken back by a later directory, and none is
    added for a key that the directory no longer names.

    Args:
        item: As it was kept.
        kid: The node key that sealed it; empty if it was kept before that was noted.
        present: With or without a directory.
    """
    ended = [code for code in _ended(item, kid, present) if code not in item.warnings]
    return item.model_copy(update={"warnings": (*item.warnings, *ended)}) if ended else item


def _ended(item: InboxItem, kid: bytes, present: Present) -> tuple[str, ...]:
    try:
        view = present.view
    except BrokerError:  # `no-directory`: what is kept is readable all the same
        return ()
    at = item.decision.decided_at
    asked: tuple[tuple[str, Callable[[], Standing]], ...] = (
        (KEY_ENDED, lambda: view.gateway_standing(item.decision.kid)),
        (KEY_ENDED, lambda: view.verification_standing(item.sender, kid)),
        (OFFICER_ENDED, lambda: view.member(item.sender).certified[item.officer.kid].standing),
    )
    found: list[str] = []
    for code, standing in asked:
        try:
            if standing().ended_since(at=at) and code not in found:
                found.append(code)
        except (DirectoryError, KeyError):
            continue
    return tuple(found)
