"""JWTs of operator, accounts and users: one account for each member, and nothing shared.

Source: NATS JWT version 2, nkeys (base32 of prefix byte, key and CRC-16/XMODEM). A member's account
imports exactly the hub's services to that member, each with an activation token of the hub. With
one account for all, replies are not permission-checked and a reply subject reaches into any inbox.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from keys.primitives.signing import SignKey
from schemas.vocabulary import Lane

_PREFIXES: Final[Mapping[str, int]] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
MAX_CONNECTIONS: Final = 8  # of one member: its node, a spare, and those a dying line left behind
MAX_SUBSCRIPTIONS: Final = 256
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
_UNLIMITED: Final = -1
_WHENEVER_ISSUED: Final = 253_402_300_799  # the last second that a time of ours can have
_ANSWER_WITHIN_NS: Final = 10_000_000_000


@dataclass(frozen=True)
class HubKeys:
    """The hub's own keys for NATS. `SignKey` has a silent `repr`."""

    operator: SignKey
    system: SignKey
    account: SignKey
    system_user: SignKey
    user: SignKey

    @classmethod
    def generate(cls) -> "HubKeys":
        """Return new keys."""
        return cls(*(SignKey.generate() for _ in range(5)))


def public_nkey(kind: str, raw: bytes) -> str:
    """Return the nkey text of a raw Ed25519 public key; kind is operator, account or user."""
    body = bytes([_PREFIXES[kind]]) + raw
    checked = body + binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def services(member: str) -> tuple[tuple[str, str], ...]:
    """Return what the hub exports to one member: subject and type of response, nothing else."""
    inboxes = [f"INBOX_{member}_{lane}" for lane in Lane]
    return (
        (f"submit.{member}.>", "Singleton"),
        *((f"$JS.API.CONSUMER.MSG.NEXT.{inbox}.*", "Stream") for inbox in inboxes),
        *((f"$JS.ACK.{inbox}.>", "Singleton") for inbox in inboxes),
        (f"$JS.API.CONSUMER.MSG.NEXT.RECEIPT_{member}.{member}", "Stream"),
        (f"$JS.ACK.RECEIPT_{member}.>", "Singleton"),
        (f"hub.{member}.>", "Singleton"),
    )


def inbox_prefix(member: str) -> str:
    """Return the prefix under which a member's user receives answers."""
    return f"_INBOX_{member}"


GATEWAY_PUBLISHES: Final = (
    "audit.>",
    "deliver.>",
    "held.>",
    "receipt.>",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.API.STREAM.MSG.GET.>",
    "$JS.API.STREAM.LIST",
    "$JS.ACK.>",
)
"""All that a gateway worker says: it cannot change a stream, an account or a consumer."""


def operator_jwt(keys: HubKeys, *, now: datetime) -> str:
    """Return the operator's JWT, which names the system account."""
    own = _nkey("operator", keys.operator)
    return _token(
        keys.operator,
        issuer=own,
        subject=own,
        name="kentong",
        now=now,
        nats={"type": "operator", "system_account": _nkey("account", keys.system)},
    )


def system_account_jwt(keys: HubKeys, *, now: datetime) -> str:
    """Return the system account's JWT."""
    return _account(keys, _nkey("account", keys.system), "SYS", now=now, nats={})


def hub_account_jwt(
    keys: HubKeys, members: Sequence[str], *, now: datetime, revoked: Collection[str] = ()
) -> str:
    """Return the JWT of the hub's account, which owns every stream.

    Args:
        keys: The hub's.
        members: To whom services are exported.
        now: Time of issue; the server takes the newest.
        revoked: Public nkeys of users that are let in no more, whatever their JWTs say; those that
            are there lose their connection.
    """
    exports = [
        {
            "name": f"{member}-{number}",
            "subject": subject,
            "type": "service",
            "token_req": True,
            "response_type": response,
        }
        for member in members
        for number, (subject, response) in enumerate(services(member))
    ]
    limits = {"mem_storage": 0, "disk_storage": _UNLIMITED, "streams": -1, "consumer": -1}
    return _account(
        keys,
        _nkey("account", keys.account),
        "HUB",
        now=now,
        nats={"exports": exports, "revocations": dict.fromkeys(revoked, _WHENEVER_ISSUED)},
        limits=limits,
    )


def member_account_jwt(
    keys: HubKeys,
    member: str,
    account_key: bytes,
    *,
    now: datetime,
    connections: int = MAX_CONNECTIONS,
) -> str:
    """Return the JWT of a member's account.

    Args:
        keys: The hub's.
        member: Member code.
        account_key: Raw public key, from the directory.
        now: Time of issue.
        connections: 0 suspends: every connection drops and none is let in.
    """
    public = public_nkey("account", account_key)
    hub = _nkey("account", keys.account)
    imports = [
        {
            "name": f"{member}-{number}",
            "subject": subject,
            "account": hub,
            "token": _activation(keys, public, subject, now=now),
            "type": "service",
        }
        for number, (subject, _) in enumerate(services(member))
    ]
    # No limit of `data`: nats-server 2.15 reads it and holds nobody to it (tried, on account and
    # user). A member's bytes are bounded by payload, its stream's room and the gateway's quota.
    limits = {
        "conn": connections,
        "subs": MAX_SUBSCRIPTIONS,
        "payload": MAX_PAYLOAD_BYTES,
        "exports": 0,
        "imports": len(imports),
        "wildcards": False,
    }
    return _account(keys, public, member, now=now, nats={"imports": imports}, limits=limits)


def deletion_request(keys: HubKeys, accounts: Sequence[str], *, now: datetime) -> str:
    """Return the operator's order to forget accounts, each named by its public nkey."""
    own = _nkey("operator", keys.operator)
    nats = {"type": "generic", "accounts": list(accounts)}
    return _token(keys.operator, issuer=own, subject=own, name="delete", now=now, nats=nats)


def user_jwt(
    account: SignKey,
    user_key: bytes,
    name: str,
    *,
    now: datetime,
    member: str | None = None,
    publish: Sequence[str] | None = None,
    serve: Sequence[str] = (),
    expires: datetime | None = None,
) -> str:
    """Return a user's JWT, signed by its account.

    Args:
        account: The account's key; a member's is held by the member's node alone.
        user_key: Raw public key of the user.
        name: Shown in the server's own status.
        now: Time of issue.
        member: Confines the user to what a member's node needs; None for the hub's own users.
        publish: Confines a user of the hub to these subjects; None for all.
        serve: Beside its own inbox, all that a confined user of the hub may read; it may answer
            once to each request there.
        expires: From then on the server lets it in no more; None for never.
    """
    permissions: dict[str, Any] = {}
    if publish is not None:
        permissions = {
            "pub": {"allow": list(publish)},
            "sub": {"allow": ["_INBOX.>", *serve]},
            "resp": {"max": 1, "ttl": _ANSWER_WITHIN_NS},
        }
    if member is not None:
        permissions = {
            "pub": {"allow": [subject for subject, _ in services(member)]},
            "sub": {"allow": [f"{inbox_prefix(member)}.>"]},
        }
    nats = {
        "type": "user",
        "subs": MAX_SUBSCRIPTIONS if member else _UNLIMITED,
        "data": _UNLIMITED,
        "payload": MAX_PAYLOAD_BYTES if member else _UNLIMITED,
        **permissions,
    }
    return _token(
        account,
        issuer=_nkey("account", account),
        subject=public_nkey("user", user_key),
        name=name,
        now=now,
        nats=nats,
        expires=expires,
    )


def user_jwt_again(jwt: str, account: SignKey, *, now: datetime) -> str:
    """Return what a user's JWT says, signed by another account.

    Args:
        jwt: Our own, from a key store.
        account: The account's key.
        now: Time of issue.
    """
    body = jwt.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return _token(
        account,
        issuer=_nkey("account", account),
        subject=claims["sub"],
        name=claims["name"],
        now=now,
        nats=claims["nats"],
    )


def _activation(keys: HubKeys, account: str, subject: str, *, now: datetime) -> str:
    return _token(
        keys.account,
        issuer=_nkey("account", keys.account),
        subject=account,
        name=subject,
        now=now,
        nats={"type": "activation", "subject": subject, "kind": "service"},
    )


def _account(
    keys: HubKeys,
    public: str,
    name: str,
    *,
    now: datetime,
    nats: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
) -> str:
    bounds = {
        "subs": _UNLIMITED,
        "data": _UNLIMITED,
        "payload": _UNLIMITED,
        "imports": _UNLIMITED,
        "exports": _UNLIMITED,
        "wildcards": True,
        "conn": _UNLIMITED,
        "leaf": 0,
        "disallow_bearer": True,
        **(limits or {}),
    }
    return _token(
        keys.operator,
        issuer=_nkey("operator", keys.operator),
        subject=public,
        name=name,
        now=now,
        nats={"type": "account", "limits": bounds, "default_permissions": {}, **nats},
    )


def _token(
    key: SignKey,
    *,
    issuer: str,
    subject: str,
    name: str,
    now: datetime,
    nats: Mapping[str, Any],
    expires: datetime | None = None,
) -> str:
    claims: dict[str, Any] = {
        "iat": int(now.timestamp()),
        "iss": issuer,
        "sub": subject,
        "name": name,
        "nats": {**nats, "version": 2},
    }
    if expires is not None:
        claims["exp"] = int(expires.timestamp())
    digest = hashlib.new("sha512_256", _json(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_b64(_json(_HEADER))}.{_b64(_json(claims))}"
    return f"{signed}.{_b64(key.sign(signed.encode()))}"


def _nkey(kind: str, key: SignKey) -> str:
    return public_nkey(kind, key.public.raw)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
