"""The client: what a desk's program holds while it talks to its node."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4
from weakref import WeakSet

from pydantic import BaseModel, JsonValue, RootModel
from typing_extensions import Unpack

from broker.client.attaching import Progress, described, hand_over, save, with_files, withdraw
from broker.client.compose import Fields, compose
from broker.client.connection import Connection, Lost, Query
from broker.client.errors import LocalError, OutcomeUnknown, Unavailable, Unreachable
from broker.client.originals import original_of
from broker.client.place import place_of
from broker.client.profiles import Profile
from broker.client.signing import KeptKey, SignedDraft, Signer, sign_draft, signer_of
from broker.client.submission import Submission
from broker.client.subscription import Subscription
from keys.officers import OfficerKey
from schemas.common import Alert
from schemas.desk import (
    AlertBody,
    AttachedFile,
    AttachmentShown,
    Cursor,
    DraftRequest,
    InboxItem,
    InboxPage,
    MembersPage,
    NodeStatus,
    OriginalDocument,
    Preview,
    StoredDraft,
    SubmissionPage,
    SubmissionState,
    SubmitRequest,
    WaitingFiles,
)
from schemas.desk import Submission as SubmissionShown

_Model = TypeVar("_Model", bound=BaseModel)


class _JSONObject(RootModel[dict[str, JsonValue]]):
    """Any object, for what this program passes on unread."""


class Client:
    """A desk's connection to its node; use it with `async with`.

    It raises `BrokerError` and its subclasses, whose `retry` says whether asking again may help,
    and `ValueError` or `TypeError` for misuse; nothing else.
    """

    def __init__(
        self,
        *,
        profile: str | Profile | None = None,
        url: str | None = None,
        token: str | None = None,
        ca_file: Path | None = None,
        officer_key: Signer | OfficerKey | None = None,
        passphrase: bytes | None = None,
        patience_s: float = 10.0,
    ) -> None:
        """Say where the node is and who signs: by a profile, by the parts, or both.

        Args:
            profile: A profile or its name; `""` for the default one.
            url: `unix:///path/to/api.sock` or `https://host:port`; overrides the profile's.
            token: Bearer token; overrides the profile's.
            ca_file: Authorities that vouch for an https node; overrides the profile's.
            officer_key: Signs drafts; else the profile's key store is opened when first needed.
            passphrase: Opens that key store; else the file that the profile or the environment
                names does.
            patience_s: How long an unreachable or busy node is tried again.

        Raises:
            LocalError: The profile, its token or its CA file cannot be used.
            ValueError: Neither a profile nor a URL and a token, or one that is not well formed.
        """
        chosen, where, token = place_of(profile, url, token, ca_file)
        self.profile = chosen
        self._signer = KeptKey(officer_key) if isinstance(officer_key, OfficerKey) else officer_key
        self._passphrase = passphrase
        self._connection = Connection(where, token, patience_s=patience_s)
        self._patience_s = patience_s
        self._subscriptions: WeakSet[Subscription] = WeakSet()

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in tuple(self._subscriptions):
            await each.close()
        await self._connection.__aexit__(kind, error, trace)

    # --- sending ---

    async def preview(
        self, alert: Alert | AlertBody | DraftRequest, **fields: Unpack[Fields]
    ) -> Preview:
        """Return who would receive this and why not the others; nothing is kept or sent.

        Args:
            alert: Typed content, or a whole request made by `compose`.
            fields: `to` and the fields of the label; what is missing comes from the profile.

        Raises:
            ValueError: A field is missing or not valid.
            BrokerError: A refusal, `Unreachable` or `Unavailable`.
        """
        request = compose(alert, self.profile, await with_files(fields, described))
        return await self._ask("POST", "/v1/preview", Preview, body=request)

    async def prepare(
        self, alert: Alert | AlertBody | DraftRequest, **fields: Unpack[Fields]
    ) -> SignedDraft:
        """Draft, check and sign, without sending: `submit` does that, as often as needed.

        A program that must survive its own crash stores the result before it submits.

        Raises:
            ValueError: A field is missing or not valid.
            UntrustedDraft: The node gave something else to sign; nothing was signed.
            LocalError: There is no officer's key, or it does not open.
            BrokerError: A refusal, `Unreachable` or `Unavailable`; nothing was sent.
        """
        request = compose(alert, self.profile, await with_files(fields, self.attach))
        signer = await self.signer()
        asked = request.model_copy(update={"officer_kid": signer.kid})
        draft = await self._ask("POST", "/v1/drafts", StoredDraft, body=asked)
        return await sign_draft(asked, draft, signer, idempotency_key=str(uuid4()))

    async def submit(self, signed: SignedDraft) -> Submission:
        """Queue what was prepared. Once this returns, no crash of the node loses it.

        Submitting the same again returns the same submission: it never doubles.

        Raises:
            OutcomeUnknown: No answer came; submit the same again.
            BrokerError: A refusal; `Unreachable` if it surely did not arrive.
        """
        body = SubmitRequest(signature=signed.signature, officer_kid=signed.officer_kid)
        try:
            shown = await self._connection.ask(
                "POST",
                f"/v1/drafts/{signed.draft_id}/submit",
                SubmissionShown,
                body=body,
                headers={"idempotency-key": signed.idempotency_key},
            )
        except (Lost, Unavailable) as error:
            if isinstance(error, Lost) and not error.sent:
                raise Unreachable("the node does not answer; nothing was sent") from None
            told = error.code if isinstance(error, Unavailable) else ""
            raise OutcomeUnknown(signed, told) from None
        return Submission(self._connection, shown)

    async def send(
        self, alert: Alert | AlertBody | DraftRequest, **fields: Unpack[Fields]
    ) -> Submission:
        """Draft, check, sign and queue an alert; the answer says QUEUED, not sent.

        Args:
            alert: Typed content, or a whole request made by `compose`.
            fields: `to` and the fields of the label; what is missing comes from the profile.

        Raises:
            OutcomeUnknown: It may be queued: `submit(error.signed)`, do not send anew.
            BrokerError: As `prepare` and `submit`; nothing was queued.
            ValueError: A field is missing or not valid.
        """
        return await self.submit(await self.prepare(alert, **fields))

    async def describe(
        self, path: Path | str, *, name: str | None = None, media_type: str | None = None
    ) -> AttachedFile:
        """Return what a draft says of a file, for a preview; nothing is handed over.

        Raises:
            LocalError: `bad-file`, or `attachment-too-large` naming both sizes.
            ValueError: A name or media type that cannot travel.
        """
        return await described(Path(path), name=name, media_type=media_type)

    async def attach(
        self,
        path: Path | str,
        *,
        name: str | None = None,
        media_type: str | None = None,
        progress: Progress | None = None,
    ) -> AttachedFile:
        """Hand a file to the node, to be named in `attachments` within a day.

        It is read a chunk at a time. After a break, the same call goes on where it was.

        Args:
            path: The file, at most 1 GiB.
            name: As its recipients see it; else the file's own.
            media_type: Else guessed from the name.
            progress: Called with bytes done and bytes of the whole.

        Raises:
            LocalError: `bad-file`, or `attachment-too-large` naming both sizes.
            BrokerError: A refusal, `Unreachable` or `Unavailable`.
            ValueError: A name or media type that cannot travel.
        """
        wanted = await described(Path(path), name=name, media_type=media_type)
        return await hand_over(self._connection, Path(path), wanted, progress)

    async def attachments_waiting(self) -> WaitingFiles:
        """Return the files that this desk handed over and no alert took, oldest first."""
        return await self._ask("GET", "/v1/attachments", WaitingFiles)

    async def withdraw_attachment(self, attachment_id: UUID) -> None:
        """Let the node delete a file that went with no alert; else it does so after a day.

        Raises:
            NotFound: There is none, or it is gone by now.
            BrokerError: `attachment-used`: it went with an alert; another refusal, `Unreachable`
                or `Unavailable`.
        """
        await withdraw(self._connection, _uuid(attachment_id))

    async def status(self, reference: UUID) -> Submission:
        """Return a submission by its id, its alert's id (the newest) or its envelope's id.

        Raises:
            BrokerError: `NotFound`, another refusal, or `Unreachable`.
        """
        shown = await self._ask("GET", f"/v1/submissions/{_uuid(reference)}", SubmissionShown)
        return Submission(self._connection, shown)

    async def outbox(
        self,
        *,
        states: Collection[SubmissionState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> SubmissionPage:
        """Return submissions, newest first; `before` is the `next` of the page before.

        Raises:
            BrokerError: A refusal or `Unreachable`.
        """
        query: dict[str, str | int | Sequence[str]] = {"limit": limit}
        query["state"] = [str(state) for state in states]
        if before is not None:
            query["before"] = str(_uuid(before))
        return await self._ask("GET", "/v1/submissions", SubmissionPage, query=query)

    # --- receiving ---

    def subscribe(
        self, *types: str, cursor: str | None = None, since: int | None = None
    ) -> Subscription:
        """Return the alerts of `types` (all if none is named) as they come.

        Args:
            types: Alert types.
            cursor: Name of this reader's place, kept by the node and moved by `item.ack()`.
            since: Begin after this position instead.

        Raises:
            ValueError: Neither a cursor nor a position.
        """
        found = Subscription(self._connection, types=types, cursor=cursor, since=since)
        self._subscriptions.add(found)
        return found

    async def inbox(self, *types: str, since: int = 0, limit: int = 50) -> InboxPage:
        """Return stored alerts after position `since`, oldest first; all types if none is named.

        Raises:
            BrokerError: A refusal or `Unreachable`.
        """
        query: Query = {"type": types, "since": since, "limit": limit}
        return await self._ask("GET", "/v1/inbox", InboxPage, query=query)

    async def show(self, item_id: UUID) -> InboxItem:
        """Return one alert by its envelope's id, or the newest revision by its alert's id.

        Raises:
            BrokerError: `NotFound`, another refusal, or `Unreachable`.
        """
        return await self._ask("GET", f"/v1/inbox/{_uuid(item_id)}", InboxItem)

    async def original(self, item_id: UUID) -> OriginalDocument:
        """Return the source document of an alert, byte for byte as its sender had it.

        Raises:
            BrokerError: `NotFound` if it was not carried; else a refusal or `Unreachable`.
        """
        return await original_of(self._connection, _uuid(item_id))

    async def save_attachment(
        self,
        item_id: UUID,
        number: int,
        path: Path | str,
        *,
        progress: Progress | None = None,
    ) -> AttachmentShown:
        """Write an attached file to `path`, which must not be there, and compare its SHA-256.

        After a break, the same call goes on where it was, from `<path>.part`.

        Args:
            item_id: The alert.
            number: Counted from 1, as the alert shows it.
            path: Where to.
            progress: Called with bytes done and bytes of the whole.

        Raises:
            NotFound: No such file, or it expired before it was here.
            Unavailable: `attachment-arriving`: not all of it is here; ask again later.
            LocalError: `exists`, `cannot-write` or `attachment-mismatch`.
            BrokerError: Another refusal, or `Unreachable`.
        """
        item = await self.show(item_id)
        shown = next((each for each in item.attachments if each.number == number), None)
        if shown is None:
            raise LocalError("no-such-attachment", f"the alert has no attachment {number}")
        await save(
            self._connection,
            item.id,
            shown,
            Path(path),
            patience_s=self._patience_s,
            progress=progress,
        )
        return shown

    async def cursor(self, name: str) -> Cursor:
        """Return a named reader's place.

        Raises:
            BrokerError: A refusal or `Unreachable`.
        """
        return await self._ask("GET", f"/v1/cursors/{quote(name, safe='')}", Cursor)

    # --- the node ---

    async def node_status(self) -> NodeStatus:
        """Return how the node is.

        Raises:
            BrokerError: A refusal or `Unreachable`.
        """
        return await self._ask("GET", "/v1/status", NodeStatus)

    async def members(self) -> MembersPage:
        """Return whom the directory names.

        Raises:
            BrokerError: A refusal or `Unreachable`.
        """
        return await self._ask("GET", "/v1/directory/members", MembersPage)

    async def schema(self, alert_type: str, version: int = 1) -> dict[str, Any]:
        """Return the JSON Schema of an alert type, as the node reads it.

        Raises:
            BrokerError: `NotFound`, another refusal, or `Unreachable`.
        """
        path = f"/v1/schemas/{quote(alert_type, safe='')}/{version}"
        return dict((await self._ask("GET", path, _JSONObject)).root)

    async def signer(self) -> Signer:
        """Return who signs, opening the profile's key store the first time.

        Raises:
            LocalError: There is none, or it does not open.
        """
        if self._signer is None:
            if self.profile is None:
                raise LocalError("no-officer-key", "no officer's key is given to sign with")
            self._signer = await signer_of(self.profile, passphrase=self._passphrase)
        return self._signer

    async def _ask(
        self,
        method: str,
        path: str,
        answer: type[_Model],
        *,
        body: BaseModel | None = None,
        query: Query | None = None,
    ) -> _Model:
        try:
            return await self._connection.ask(method, path, answer, body=body, query=query)
        except Lost:
            raise Unreachable("the node does not answer") from None


def _uuid(value: object) -> UUID:
    if not isinstance(value, UUID):
        raise TypeError("an id is a UUID")
    return value
