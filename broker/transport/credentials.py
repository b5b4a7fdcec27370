"""What a connection needs to be let in."""

from dataclasses import dataclass, field

from keys.primitives.signing import SignKey


@dataclass(frozen=True)
class Credentials:
    """One user of one account.

    Attributes:
        urls: `tls://host:port`, one or more.
        ca_pem: The certificate authority that the servers' certificates must come from.
        jwt: The user's JWT.
        key: The user's key, which answers the server's challenge. Its `repr` is silent.
        inbox_prefix: Under which this user receives answers; no other member hears there.
        name: Shown in the server's own status.
    """

    urls: tuple[str, ...]
    ca_pem: str = field(repr=False)
    jwt: str = field(repr=False)
    key: SignKey
    inbox_prefix: str
    name: str
