"""What becomes of each key: replaced as planned, stolen, used too early, too late, destroyed.

One row for each key and event. Keys, signatures and ceremonies are real: rows end in what the
gateway, a recipient or a reader of the directory says; an empty string means that it was taken.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from broker.admission.judge import Arrival, Situation, judge, read
from broker.admission.judgement import Judged, NotNow, RefusedWhole
from broker.envelope.decision import check_accepted, parse_delivery
from broker.envelope.delivered import Opened, open_delivered
from broker.envelope.errors import EnvelopeError
from broker.envelope.seal import Recipient, seal
from broker.envelope.submitted import parse_submitted
from broker.policy import compile_policies
from keys.directory import layout
from keys.directory.edits import (
    OVERLAP,
    with_epochs,
    with_officer,
    with_replaced_encryption_key,
    with_revoked_key,
    with_revoked_officer,
    with_signing_key,
    with_suspension,
)
from keys.directory.holders import create_ministry, create_online_keys
from keys.directory.metadata import Signer
from keys.directory.proposal import Proposal
from keys.directory.repository import OnlineSigners
from keys.directory.toml_text import hub_toml
from keys.epochs import bounds, epoch_of
from keys.errors import DirectoryError, KeyFileError
from keys.identity import (
    add_epoch_keys,
    add_signing_key,
    destroy_key,
    destroy_past_keys,
    identity_in,
)
from keys.keystore import FLOOR_LOG2N
from keys.kid import kid_of
from keys.primitives.signing import SignKey
from schemas.directory import HubDocument, OfficerRole, RevocationReason, VerificationKey
from tests.keys.directory.test_hostile_hub import Hostile
from tests.support.directory import FOUNDERS, PASSPHRASE, RealRegion
from tests.support.envelopes import Made, an_alert, delivery, label_for, signed_content
from tests.support.region import NOW, TestRegion

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(milliseconds=1)
STOLEN = RevocationReason.COMPROMISED
PLANNED = RevocationReason.SUPERSEDED
EPOCH_END = bounds(epoch_of(NOW))[1]


@dataclass
class World:
    """A region, and what its members do in it."""

    region: RealRegion

    # --- from desk to desk ---

    def sealed(
        self,
        at: datetime,
        sign: SignKey | None = None,
        *,
        officer: SignKey | None = None,
        key_of: datetime | None = None,
    ) -> Made:
        """An alert of SG to MY, sealed at `at`.

        `sign` and `officer` take the place of SG's own keys; it is sealed to MY's key of `key_of`.
        """
        region = self._keys(at, sign, officer)
        label = label_for(region, an_alert(), at=at, expires=at + timedelta(days=25))
        content, audience = signed_content(region, label, an_alert(), ("MY",))
        key = region.view.encryption_key("MY", at=key_of or at)
        recipients = [Recipient("MY", (1, 1), *key, audience.openings["MY"])]
        sg = region.members["SG"]
        sealed = seal(
            label, content.to_bytes(), recipients=recipients, node_kid=sg.kid, node_key=sg.sign_key
        )
        return Made(label, content, audience, sealed)

    def gateway_says(self, made: Made, at: datetime) -> str:
        """The gateway's code for MY at `at`, in the directory in force."""
        view = replace(self.region.view(), fresh_until=at + HOUR)
        situation = Situation(view, compile_policies(view), at)
        arrival = Arrival(made.sealed.raw, "SG", str(made.label.lane), str(made.label.id))
        submitted = read(arrival, situation)
        if isinstance(submitted, RefusedWhole | NotNow):
            return submitted.code
        verdict = judge(submitted, situation, size=len(arrival.raw), spoken_of=None)
        assert isinstance(verdict, Judged)
        return next(iter(verdict.records.values())).code

    def opened(self, made: Made, decided_at: datetime, *, gateway: SignKey | None = None) -> Opened:
        """What MY reads now of what was decided at `decided_at`."""
        view = self.region.view()
        region = replace(
            self._keys(decided_at, None), gateway_sign_key=gateway or self.region.gateway
        )
        parsed = parse_delivery(delivery(region, made.sealed.raw, "MY", at=decided_at))
        at = check_accepted(parsed, view, member="MY")
        keys = self.region.identity("MY").open_keys
        return open_delivered(parsed.delivered, member="MY", open_keys=keys, view=view, at=at)

    def recipient_says(
        self, made: Made, decided_at: datetime, *, gateway: SignKey | None = None
    ) -> str:
        try:
            self.opened(made, decided_at, gateway=gateway)
        except EnvelopeError as error:
            return error.code
        return ""

    def _keys(
        self, at: datetime, sign: SignKey | None, officer: SignKey | None = None
    ) -> TestRegion:
        region = self.region.as_test_region(self.region.view(), at)
        sg = region.members["SG"]
        changed = replace(sg, sign_key=sign or sg.sign_key, officer_key=officer or sg.officer_key)
        return replace(region, members={**region.members, "SG": changed})

    # --- the directory ---

    async def reader_says(self, now: datetime, name: str = "reader") -> str:
        """What a member's node says of the directory that the hub shows at `now`."""
        try:
            await self.region.client(name).refresh(self.region.fetch, now=now)
        except DirectoryError as error:
            return error.code
        return ""

    def publish(self, role: str, signer: Signer, now: datetime) -> str:
        """The code with which a role signed anew by this one key is published."""
        draft = self.region.draft(now)
        draft.renew(role)
        forged = replace(self.region.founded, signers={"X": signer})
        try:
            forged.enact(draft.proposal(), by=("X",), now=now)
        except DirectoryError as error:
            return error.code
        return ""

    def replace_ministry(self, now: datetime) -> Signer:
        """SG gets another directory key; return the old one, whose signature is not needed."""
        old = self.region.founded.signers["SG"]
        folder = self.region.folder / "new-ministry"
        new = create_ministry(folder, PASSPHRASE, "SG", log2n=FLOOR_LOG2N)
        draft = self.region.draft(now)
        draft.replace_key("SG", new.key)
        signers = {**self.region.founded.signers, "SG": new.signer(lambda _: PASSPHRASE)}
        founded = replace(self.region.founded, signers=signers)
        self.region = replace(self.region, founded=founded)
        self.region.enact(draft, ("MY", "VN", "TH", "SG"), now)
        return old

    def replace_online_keys(self, now: datetime) -> OnlineSigners:
        """The threshold gives the hub other online keys; return the old ones."""
        old, folder = self.region.founded.online, self.region.folder / "new-online"
        new = create_online_keys(folder, PASSPHRASE, log2n=FLOOR_LOG2N)
        draft = self.region.draft(now)
        draft.set_online_keys(snapshot=new.snapshot.public_key, timestamp=new.timestamp.public_key)
        self.region = replace(self.region, founded=replace(self.region.founded, online=new))
        self.region.enact(draft, ("SG", "MY", "VN"), now)
        return old

    def put_hub(self, document: HubDocument, now: datetime) -> None:
        draft = self.region.draft(now)
        draft.put_files(layout.TARGETS, {layout.HUB_FILE: hub_toml(document)})
        self.region.enact(draft, ("SG", "MY", "VN"), now)

    def members_sign_again(self, now: datetime) -> None:
        """What every member does each month, lest it lapse."""
        for code in ("SG", "MY"):
            draft = self.region.draft(now)
            draft.renew(layout.member_role(code))
            self.region.enact(draft, (code,), now)

    def hub(self) -> HubDocument:
        return self.region.founded.trusted().content.hub


Row = Callable[[World], Awaitable[str]]
ROWS: dict[tuple[str, str], tuple[Row, str]] = {}


def row(key: str, event: str, outcome: str = "") -> Callable[[Row], Row]:
    def put(check: Row) -> Row:
        assert (key, event) not in ROWS
        ROWS[key, event] = (check, outcome)
        return check

    return put


# --- the node's signing key ---


def new_node_key(world: World, starts: datetime) -> SignKey:
    store = world.region.store()
    public = add_signing_key(store, now=starts)
    document = with_signing_key(world.region.document(), public, not_before=starts)
    world.region.put_own(document, NOW)
    return identity_in(store).sign_keys[kid_of(public)]


def revoke_node_key(world: World, at: datetime, reason: RevocationReason) -> None:
    kid = kid_of(world.region.document().verification_keys[0].key)
    document = with_revoked_key(world.region.document(), kid, at=at, reason=reason)
    world.region.put_own(document, NOW)


def first_node_key(world: World) -> SignKey:
    return next(iter(world.region.identity().sign_keys.values()))


@row("node key", "replaced as planned: the old one goes on during the overlap")
async def _(world: World) -> str:
    old = first_node_key(world)
    new_node_key(world, NOW + DAY)
    world.members_sign_again(NOW + 20 * DAY)
    at = NOW + OVERLAP - HOUR
    return world.gateway_says(world.sealed(at, old), at)


@row("node key", "replaced as planned: the node takes the new one once it holds")
async def _(world: World) -> str:
    old = first_node_key(world)
    new = new_node_key(world, NOW + DAY)
    identity, view = world.region.identity(), world.region.view()
    assert identity.signer(view, at=NOW)[0] == kid_of(old.public.raw)
    kid, sign = identity.signer(view, at=NOW + DAY)
    assert kid == kid_of(new.public.raw)
    return world.gateway_says(world.sealed(NOW + DAY, sign), NOW + DAY)


@row("node key", "used before not_before", "key-not-yet-valid")
async def _(world: World) -> str:
    new = new_node_key(world, NOW + DAY)
    return world.gateway_says(world.sealed(NOW, new), NOW + DAY - TICK)


@row("node key", "used after not_after", "key-expired")
async def _(world: World) -> str:
    old = first_node_key(world)
    new_node_key(world, NOW + DAY)
    world.members_sign_again(NOW + 20 * DAY)
    end = NOW + DAY + OVERLAP
    return world.gateway_says(world.sealed(end - HOUR, old), end)


@row("node key", "expired since: what was decided before is read")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    new_node_key(world, NOW)
    assert (
        world.region.view().verification_standing("SG", made_kid(made)).not_after == NOW + OVERLAP
    )
    return world.recipient_says(made, NOW + HOUR)


@row("node key", "revoked as compromised, used afterwards", "key-revoked")
async def _(world: World) -> str:
    revoke_node_key(world, NOW, STOLEN)
    return world.gateway_says(world.sealed(NOW), NOW)


@row("node key", "revoked as compromised, delivered as if decided afterwards", "key-revoked")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_node_key(world, NOW + HOUR, STOLEN)
    return world.recipient_says(made, NOW + HOUR)


@row("node key", "revoked as compromised, decided before, read now", "key-revoked-since")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_node_key(world, NOW + HOUR, STOLEN)
    return world.recipient_says(made, NOW)


@row("node key", "revoked as superseded, decided before, read now")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_node_key(world, NOW + HOUR, PLANNED)
    standing = world.region.view().verification_standing("SG", made_kid(made))
    assert standing.ended_since(at=NOW)  # shown as such
    return world.recipient_says(made, NOW)


@row("node key", "suspended by two others as compromised, decided before", "key-revoked-since")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    world.region.suspend("SG", kid=made_kid(made), now=NOW + HOUR, reason=STOLEN)
    return world.recipient_says(made, NOW)


@row("node key", "its revocation taken back", "history-rewritten")
async def _(world: World) -> str:
    before = world.region.document()
    revoke_node_key(world, NOW, STOLEN)
    return published(world, lambda: world.region.put_own(before, NOW))


@row("node key", "its revocation put off", "history-rewritten")
async def _(world: World) -> str:
    before = world.region.document()
    revoke_node_key(world, NOW, STOLEN)
    kid = kid_of(before.verification_keys[0].key)
    later = with_revoked_key(before, kid, at=NOW + DAY, reason=STOLEN)
    return published(world, lambda: world.region.put_own(later, NOW))


@row("node key", "a theft called a plan", "history-rewritten")
async def _(world: World) -> str:
    before = world.region.document()
    revoke_node_key(world, NOW, STOLEN)
    kid = kid_of(before.verification_keys[0].key)
    milder = with_revoked_key(before, kid, at=NOW, reason=PLANNED)
    return published(world, lambda: world.region.put_own(milder, NOW))


@row("node key", "its life prolonged", "history-rewritten")
async def _(world: World) -> str:
    document = world.region.document()
    entry = document.verification_keys[0]
    longer = entry.model_copy(update={"not_after": entry.not_after + DAY})
    changed = document.model_copy(update={"verification_keys": (longer,)})
    return published(world, lambda: world.region.put_own(changed, NOW))


@row("node key", "known to be stolen earlier than first said")
async def _(world: World) -> str:
    before = world.region.document()
    revoke_node_key(world, NOW, STOLEN)
    kid = kid_of(before.verification_keys[0].key)
    earlier = with_revoked_key(before, kid, at=NOW - HOUR, reason=STOLEN)
    return published(world, lambda: world.region.put_own(earlier, NOW))


@row("node key", "the only one destroyed", "last-key")
async def _(world: World) -> str:
    try:
        destroy_key(world.region.store(), kid_of(first_node_key(world).public.raw))
    except KeyFileError as error:
        return error.code
    return ""


@row("node key", "destroyed while the new one does not hold yet", "no-signing-key")
async def _(world: World) -> str:
    old = first_node_key(world)
    new_node_key(world, NOW + DAY)
    destroy_key(world.region.store(), kid_of(old.public.raw))
    identity, view = world.region.identity(), world.region.view()
    assert identity.signer(view, at=NOW + DAY)
    try:
        identity.signer(view, at=NOW)
    except KeyFileError as error:
        return error.code
    return ""


# --- the officer's key ---


def revoke_officer(world: World, at: datetime, reason: RevocationReason) -> None:
    document = with_revoked_officer(world.region.officers(), "SG-7Q4", at=at, reason=reason)
    world.region.put_own(document, NOW)


def new_officer(world: World, starts: datetime, lasts: timedelta) -> SignKey:
    key = SignKey.generate()
    document = with_officer(
        world.region.officers(),
        officer_id="SG-NEW",
        public=key.public.raw,
        roles=(OfficerRole.OFFICER,),
        now=starts,
        lasts=lasts,
    )
    world.region.put_own(document, NOW)
    return key


@row("officer key", "replaced as planned: both hold")
async def _(world: World) -> str:
    new = new_officer(world, NOW, DAY)
    made = world.sealed(NOW, officer=new)
    return world.recipient_says(made, NOW) or world.recipient_says(world.sealed(NOW), NOW)


@row("officer key", "used before not_before", "officer-not-yet-valid")
async def _(world: World) -> str:
    new = new_officer(world, NOW + DAY, DAY)
    return world.recipient_says(world.sealed(NOW, officer=new), NOW)


@row("officer key", "used after not_after", "officer-expired")
async def _(world: World) -> str:
    new = new_officer(world, NOW, DAY)
    return world.recipient_says(world.sealed(NOW, officer=new), NOW + DAY)


@row("officer key", "expired since: what was decided before is read")
async def _(world: World) -> str:
    new = new_officer(world, NOW, HOUR)
    return world.recipient_says(world.sealed(NOW, officer=new), NOW + HOUR - TICK)


@row("officer key", "revoked as compromised, decided afterwards", "officer-revoked")
async def _(world: World) -> str:
    revoke_officer(world, NOW, STOLEN)
    return world.recipient_says(world.sealed(NOW), NOW)


@row("officer key", "revoked as compromised, decided before", "officer-revoked-since")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_officer(world, NOW + HOUR, STOLEN)
    return world.recipient_says(made, NOW)


@row("officer key", "left the service, decided before, read now")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_officer(world, NOW + HOUR, RevocationReason.LEFT_SERVICE)
    opened = world.opened(made, NOW)
    assert opened.officer
    assert opened.officer.standing.ended_since(at=NOW)  # shown as such
    return ""


@row("officer key", "never certified", "unknown-officer")
async def _(world: World) -> str:
    return world.recipient_says(world.sealed(NOW, officer=SignKey.generate()), NOW)


@row("officer key", "the certificate removed", "history-rewritten")
async def _(world: World) -> str:
    empty = world.region.officers().model_copy(update={"officers": ()})
    return published(world, lambda: world.region.put_own(empty, NOW))


@row("officer key", "destroyed at the desk: another is certified under the same name")
async def _(world: World) -> str:
    revoke_officer(world, NOW, RevocationReason.LOST)
    key = SignKey.generate()
    document = with_officer(
        world.region.officers(),
        officer_id="SG-7Q4",
        public=key.public.raw,
        roles=(OfficerRole.OFFICER,),
        now=NOW,
    )
    world.region.put_own(document, NOW)
    return world.recipient_says(world.sealed(NOW, officer=key), NOW)


# --- the month's encryption key ---


def current_key(world: World) -> bytes:
    return world.region.view().encryption_key("MY", at=NOW)[0]


def revoke_encryption(world: World, at: datetime) -> bytes:
    kid, store = current_key(world), world.region.store("MY")
    add_epoch_keys(store, now=at, replace_current=True)
    changed = with_replaced_encryption_key(
        world.region.document("MY"), identity_in(store), kid, now=at
    )
    world.region.put_own(changed, NOW)
    return kid


@row("encryption key", "replaced as planned: sealed in its last minute, decided in the next month")
async def _(world: World) -> str:
    made = world.sealed(EPOCH_END - TICK)
    assert made_slot(made) == current_key(world)
    return world.gateway_says(made, EPOCH_END + HOUR)


@row("encryption key", "the next month's takes over by itself")
async def _(world: World) -> str:
    made = world.sealed(EPOCH_END)
    assert made_slot(made) != current_key(world)
    return world.gateway_says(made, EPOCH_END) or world.recipient_says(made, EPOCH_END)


@row("encryption key", "used before not_before", "stale-key")
async def _(world: World) -> str:
    made = world.sealed(EPOCH_END - TICK, key_of=EPOCH_END)
    return world.gateway_says(made, EPOCH_END - TICK)


@row("encryption key", "used after not_after", "stale-key")
async def _(world: World) -> str:
    made = world.sealed(EPOCH_END, key_of=EPOCH_END - TICK)
    return world.gateway_says(made, EPOCH_END)


@row("encryption key", "revoked as compromised, sealed to before, decided afterwards", "stale-key")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_encryption(world, NOW + HOUR)
    return world.gateway_says(made, NOW + HOUR)


@row("encryption key", "revoked as compromised, delivered before: its owner still reads it")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_encryption(world, NOW + HOUR)
    return world.recipient_says(made, NOW)


@row("encryption key", "revoked as compromised: senders take the new one at once")
async def _(world: World) -> str:
    old = revoke_encryption(world, NOW)
    made = world.sealed(NOW)
    assert made_slot(made) != old
    return world.gateway_says(made, NOW) or world.recipient_says(made, NOW)


@row("encryption key", "destroyed 90 days after its month", "no-open-key")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    destroyed = destroy_past_keys(world.region.store("MY"), now=EPOCH_END + 90 * DAY)
    assert destroyed == (epoch_of(NOW),)
    return world.recipient_says(made, NOW)


@row("encryption key", "kept until then")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    assert not destroy_past_keys(world.region.store("MY"), now=EPOCH_END + 90 * DAY - TICK)
    return world.recipient_says(made, NOW)


@row("encryption key", "destroyed at once", "no-open-key")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    destroy_key(world.region.store("MY"), current_key(world))
    return world.recipient_says(made, NOW)


@row("encryption key", "none published for the month", "no-encryption-key")
async def _(world: World) -> str:
    store, later = world.region.store("MY"), NOW + 25 * DAY
    add_epoch_keys(store, now=later)
    document = with_epochs(world.region.document("MY"), identity_in(store), now=later)
    without = document.model_copy(
        update={
            "encryption_keys": tuple(
                k for k in document.encryption_keys if k.epoch != epoch_of(EPOCH_END)
            )
        }
    )
    world.region.put_own(without, later)
    try:
        world.region.view().encryption_key("MY", at=EPOCH_END)
    except DirectoryError as error:
        return error.code
    return ""


# --- the gateway's key ---


def new_gateway_key(world: World, starts: datetime, *, old_until: datetime) -> SignKey:
    hub, key = world.hub(), SignKey.generate()
    old = hub.gateway_keys[0].model_copy(update={"not_after": old_until})
    new = VerificationKey(
        key=key.public.raw, not_before=starts, not_after=starts + timedelta(days=400)
    )
    world.put_hub(hub.model_copy(update={"gateway_keys": (old, new)}), NOW)
    return key


def revoke_gateway_key(world: World, at: datetime, reason: RevocationReason) -> None:
    hub = world.hub()
    ended = hub.gateway_keys[0].model_copy(update={"revoked_at": at, "reason": reason})
    world.put_hub(hub.model_copy(update={"gateway_keys": (ended,)}), NOW)


@row("gateway key", "replaced as planned: both decide during the overlap")
async def _(world: World) -> str:
    new = new_gateway_key(world, NOW, old_until=NOW + DAY)
    made = world.sealed(NOW)
    return world.recipient_says(made, NOW, gateway=new) or world.recipient_says(made, NOW)


@row("gateway key", "used before not_before", "key-not-yet-valid")
async def _(world: World) -> str:
    new = new_gateway_key(world, NOW + DAY, old_until=NOW + 2 * DAY)
    return world.recipient_says(world.sealed(NOW), NOW, gateway=new)


@row("gateway key", "used after not_after", "key-expired")
async def _(world: World) -> str:
    new_gateway_key(world, NOW, old_until=NOW + HOUR)
    return world.recipient_says(world.sealed(NOW), NOW + HOUR)


@row("gateway key", "revoked as compromised, decided afterwards", "key-revoked")
async def _(world: World) -> str:
    revoke_gateway_key(world, NOW, STOLEN)
    return world.recipient_says(world.sealed(NOW), NOW)


@row("gateway key", "revoked as compromised, naming a time before", "key-revoked-since")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_gateway_key(world, NOW + HOUR, STOLEN)
    return world.recipient_says(made, NOW)


@row("gateway key", "revoked as superseded, decided before, read now")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    revoke_gateway_key(world, NOW + HOUR, PLANNED)
    return world.recipient_says(made, NOW)


@row("gateway key", "in no directory", "unknown-key")
async def _(world: World) -> str:
    return world.recipient_says(world.sealed(NOW), NOW, gateway=SignKey.generate())


@row("gateway key", "removed by the threshold itself", "history-rewritten")
async def _(world: World) -> str:
    hub = world.hub()
    only = VerificationKey(key=SignKey.generate().public.raw, not_before=NOW, not_after=NOW + DAY)
    changed = hub.model_copy(update={"gateway_keys": (only,)})
    return published(world, lambda: world.put_hub(changed, NOW))


# --- a member's directory key: it signs the region's roles with others, and its own alone ---


@row("root and targets key", "replaced as planned: readers follow from the first root")
async def _(world: World) -> str:
    assert await world.reader_says(NOW, "early") == ""
    world.replace_ministry(NOW)
    assert await world.reader_says(NOW, "late") == ""
    return await world.reader_says(NOW, "early")


@row(
    "root and targets key", "replaced after a theft: the old one counts no more", "nothing-to-sign"
)
async def _(world: World) -> str:
    stolen = world.replace_ministry(NOW)
    return world.publish(layout.TARGETS, stolen, NOW)


@row("root and targets key", "stolen: it alone changes nothing for the region", "below-threshold")
async def _(world: World) -> str:
    return world.publish(layout.TARGETS, world.region.founded.signers["SG"], NOW)


@row("root and targets key", "stolen: it alone makes no other root", "below-threshold")
async def _(world: World) -> str:
    return world.publish(layout.ROOT, world.region.founded.signers["SG"], NOW)


@row("root and targets key", "signed before it was replaced: still the history")
async def _(world: World) -> str:
    world.region.enact(renewed(world, layout.ROOT), ("SG", "MY", "VN"), NOW)
    world.replace_ministry(NOW)
    return await world.reader_says(NOW)


@row("root and targets key", "targets not signed again for 90 days", "directory-expired")
async def _(world: World) -> str:
    return await world.reader_says(NOW + layout.TARGETS_LASTS)


@row("root and targets key", "destroyed: the others give its member a new one")
async def _(world: World) -> str:
    assert world.replace_ministry(NOW)  # it did not sign
    return await world.reader_says(NOW)


@row("root and targets key", "the whole member revoked: its seat is gone", "nothing-to-sign")
async def _(world: World) -> str:
    expel(world, "TH")
    assert await world.reader_says(NOW) == ""
    return world.publish(layout.TARGETS, world.region.founded.signers["TH"], NOW)


@row(
    "root and targets key",
    "the whole member revoked: what it sealed is refused",
    "member-suspended",
)
async def _(world: World) -> str:
    made = world.sealed(NOW)
    expel(world, "SG")
    return world.gateway_says(made, NOW)


@row("root and targets key", "the whole member revoked: too few would be left", "too-few-holders")
async def _(world: World) -> str:
    expel(world, "TH")
    return published(world, lambda: expel(world, "SG"))


@row("member's role key", "replaced as planned: the new one signs")
async def _(world: World) -> str:
    world.replace_ministry(NOW)
    return world.publish("member-SG", world.region.founded.signers["SG"], NOW)


@row("member's role key", "replaced after a theft: the old one signs nothing", "nothing-to-sign")
async def _(world: World) -> str:
    stolen = world.replace_ministry(NOW)
    return world.publish("member-SG", stolen, NOW)


@row("member's role key", "another member's", "nothing-to-sign")
async def _(world: World) -> str:
    return world.publish("member-SG", world.region.founded.signers["MY"], NOW)


@row("member's role key", "not used for 30 days: the member lapses", "member-lapsed")
async def _(world: World) -> str:
    view = world.region.view()
    view.encryption_key("SG", at=NOW + layout.DELEGATION_LASTS - DAY)
    try:
        view.encryption_key("SG", at=NOW + layout.DELEGATION_LASTS)
    except DirectoryError as error:
        return error.code
    return ""


@row("member's role key", "stolen: two others suspend the member at once", "member-suspended")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    world.region.suspend("SG", kid=None, now=NOW, reason=STOLEN)
    return world.gateway_says(made, NOW)


@row("member's role key", "stolen: nothing of the member's past is believed", "key-revoked-since")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    world.region.suspend("SG", kid=None, now=NOW + HOUR, reason=STOLEN)
    return world.recipient_says(made, NOW)


@row("member's role key", "suspended for another reason: its past stands")
async def _(world: World) -> str:
    made = world.sealed(NOW)
    world.region.suspend("SG", kid=None, now=NOW + HOUR)
    return world.recipient_says(made, NOW)


# --- the hub's online keys ---


@row("online keys", "replaced as planned: readers follow")
async def _(world: World) -> str:
    assert await world.reader_says(NOW, "early") == ""
    world.replace_online_keys(NOW)
    world.region.renew(NOW + HOUR)
    return await world.reader_says(NOW + HOUR, "early")


@row("online keys", "replaced after a theft: the old ones sign nothing", "below-threshold")
async def _(world: World) -> str:
    stolen = world.replace_online_keys(NOW)
    forger = Hostile(replace(world.region, founded=replace(world.region.founded, online=stolen)))
    forger.sign_timestamp(forger.bundle.snapshot.encode(), now=NOW)
    try:
        await world.region.client().refresh(forger.fetch, now=NOW)
    except DirectoryError as error:
        return error.code
    return ""


@row("online keys", "replaced: a hub that was not restarted spoils nothing", "below-threshold")
async def _(world: World) -> str:
    old = world.replace_online_keys(NOW)
    again = world.region.repository.renew_timestamp
    said = published(world, lambda: again(online=old, now=NOW))
    assert await world.reader_says(NOW) == ""
    return said


@row("online keys", "stolen: a version counted far ahead is forgotten with the key")
async def _(world: World) -> str:
    world.region.renew(NOW)
    for _ in range(5):
        world.region.renew(NOW)
    assert await world.reader_says(NOW, "early") == ""
    far = world.region.copied(world.region.folder.with_name("thief"))
    for _ in range(5):
        far.renew(NOW)
    await world.region.client("early").refresh(far.fetch, now=NOW)
    assert await world.reader_says(NOW, "early") == "rollback"
    world.replace_online_keys(NOW)
    return await world.reader_says(NOW, "early")


@row("online keys", "not used for an hour", "directory-expired")
async def _(world: World) -> str:
    return await world.reader_says(NOW + layout.TIMESTAMP_LASTS)


@row("online keys", "of a member", "wrong-root")
async def _(world: World) -> str:
    draft, key = world.region.draft(NOW), world.region.founded.signers["SG"].public_key
    draft.set_online_keys(snapshot=key, timestamp=key)
    return published(world, draft.proposal)


@row("online keys", "destroyed: the threshold names others")
async def _(world: World) -> str:
    world.replace_online_keys(NOW + DAY)
    return await world.reader_says(NOW + DAY)


def renewed(world: World, role: str) -> Proposal:
    draft = world.region.draft(NOW)
    draft.renew(role)
    return draft.proposal()


def expel(world: World, code: str) -> None:
    draft = world.region.draft(NOW)
    standing = world.region.founded.trusted().content.revocations
    draft.expel(code, with_suspension(standing, code, kid=None, at=NOW, reason=STOLEN))
    others = [each for each in FOUNDERS if each != code]
    world.region.enact(draft, others, NOW)


def published(world: World, change: Callable[[], object]) -> str:
    """The code with which a change is refused; the directory in force stays what it was."""
    before = world.region.founded.trusted().version
    try:
        change()
    except DirectoryError as error:
        assert world.region.founded.trusted().version == before
        return error.code
    return ""


def made_kid(made: Made) -> bytes:
    return parse_submitted(made.sealed.raw).frame.kid


def made_slot(made: Made) -> bytes:
    return parse_submitted(made.sealed.raw).slots[0].kid


@pytest.mark.parametrize("name", list(ROWS), ids=" ".join)
async def test_what_becomes_of_a_key(region: RealRegion, name: tuple[str, str]) -> None:
    check, outcome = ROWS[name]
    assert await check(World(region)) == outcome
