"""Which node a program means, and with which token: by a profile, by the parts, or both."""

from pathlib import Path

from broker.client.connection import Where
from broker.client.profiles import Profile, Profiles, token_of


def place_of(
    profile: str | Profile | None, url: str | None, token: str | None, ca_file: Path | None
) -> tuple[Profile | None, Where, str]:
    """Return the profile, the node and the token that are meant; what is said overrides it.

    Raises:
        LocalError: The profile, its token or its CA file cannot be used.
        ValueError: Neither a profile nor a URL and a token.
    """
    chosen = Profiles.load().get(profile) if isinstance(profile, str) else profile
    if url is None and chosen is not None:
        url = chosen.url
    if token is None and chosen is not None:
        token = token_of(chosen)
    if url is None or token is None:
        raise ValueError("name a profile, or a URL and a token")
    if ca_file is None and chosen is not None and chosen.ca_file is not None:
        ca_file = Path(chosen.ca_file).expanduser()
    return chosen, Where(url, ca_file), token
