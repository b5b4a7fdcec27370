"""Where in a hardware token a key lies, as a person names it. Source: RFC 7512.

    pkcs11:token=kentong;object=sign-2027?module-path=/usr/lib/softhsm/libsofthsm2.so

A PIN never stands in a URI: `pin-source` names a file that holds it, `pin-value` is refused.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from typing_extensions import override

from keys.errors import KeyFileError

SCHEME: Final = "pkcs11"
MAX_URI_CHARS: Final = 1024
_TOKEN: Final = ("token", "serial", "manufacturer", "model")
_OBJECT: Final = ("object", "id")
_TYPE: Final = "type"  # may be said, and is then `private`
_MODULE: Final = "module-path"
_PIN_SOURCE: Final = "pin-source"
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9._~\-:\[\]@!$'()*+,=&/]|%[0-9A-Fa-f]{2})*")
_FORM: Final = "pkcs11:token=LABEL;object=LABEL?module-path=/path/of/the/tokens/library.so"


@dataclass(frozen=True)
class TokenURI:
    """One private key of one token.

    Attributes:
        token: What the token must say of itself, by the attribute's name: its label, its serial
            number, its manufacturer, its model.
        label: The key's label, or empty.
        ident: The key's identifier, or empty; one of both is there.
        module: The token's library; empty until somebody says it.
        pin_file: Where the PIN stands, if the URI says so.
    """

    token: tuple[tuple[str, str], ...]
    label: str
    ident: bytes
    module: str
    pin_file: Path | None = None

    def with_module(self, module: str) -> "TokenURI":
        """Return the same, with `module` if none is named yet.

        Raises:
            KeyFileError: `bad-token-uri`: there is none at all, or it is no absolute path.
        """
        found = replace(self, module=self.module or module)
        if not found.module.startswith("/"):
            raise KeyFileError(
                "bad-token-uri",
                "name the library of the token by its full path: add"
                " ?module-path=/usr/lib/softhsm/libsofthsm2.so to the URI, or set"
                " KENTONG_PKCS11_MODULE",
            )
        return found

    @property
    def called(self) -> str:
        """How a person calls the token: its label, or what else is said of it."""
        said = dict(self.token)
        return said.get("token") or " ".join(f"{name} {value}" for name, value in self.token)

    @property
    def key_called(self) -> str:
        """How a person calls the key."""
        return self.label or self.ident.hex()

    @override
    def __str__(self) -> str:
        """Return the URI."""
        path = [f"{name}={quote(value, safe='')}" for name, value in self.token]
        if self.label:
            path.append(f"object={quote(self.label, safe='')}")
        if self.ident:
            path.append("id=" + "".join(f"%{byte:02X}" for byte in self.ident))
        query = [f"{_MODULE}={quote(self.module, safe='/')}"] if self.module else []
        if self.pin_file is not None:
            query.append(f"{_PIN_SOURCE}=file:{quote(str(self.pin_file), safe='/')}")
        return f"{SCHEME}:{';'.join(path)}" + ("?" + "&".join(query) if query else "")


def parse_token_uri(text: str) -> TokenURI:
    """Return what a URI says; an attribute that is not known here is refused, never passed over.

    Raises:
        KeyFileError: `bad-token-uri`, with what is wrong and the form that is right.
    """
    scheme, colon, rest = text.partition(":")
    if scheme != SCHEME or not colon or len(text) > MAX_URI_CHARS:
        raise _bad("a token's key is named by a URI of this form")
    path, _, query = rest.partition("?")
    said = _attributes(path, ";")
    asked = _attributes(query, "&")
    if "pin-value" in asked or "pin-value" in said:
        raise _bad("a PIN never stands in a URI, where others on the machine can read it")
    if unknown := set(said) - {*_TOKEN, *_OBJECT, _TYPE} | set(asked) - {_MODULE, _PIN_SOURCE}:
        raise _bad(f"{min(unknown)!r} is not known here")
    if said.get(_TYPE, b"private") != b"private":
        raise _bad("the key must be a private one")
    token = tuple((name, _text(said[name])) for name in _TOKEN if said.get(name))
    label, ident = _text(said.get("object", b"")), said.get("id", b"")
    if not token:
        raise _bad("it does not say which token")
    if not (label or ident):
        raise _bad("it does not say which key")
    source = _text(asked.get(_PIN_SOURCE, b"")).removeprefix("file:")
    if source and not source.startswith("/"):
        raise _bad("pin-source names a file by its full path")
    pin_file = Path(source) if source else None
    return TokenURI(token, label, ident, _text(asked.get(_MODULE, b"")), pin_file)


def _attributes(text: str, separator: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name in found or not _VALUE.fullmatch(value):
            raise _bad("an attribute has no value, a bad one or two")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _bad("a value is no text") from None
    if not text.isprintable():
        raise _bad("a value is no text")
    return text


def _bad(why: str) -> KeyFileError:
    return KeyFileError("bad-token-uri", f"{why}: {_FORM}")
