"""Private Ed25519 keys that lie in a hardware token and never leave it. Source: PKCS#11 3.0.

The one door to `python-pkcs11`, an optional part of the installation (`kentong[pkcs11]`); a token's
own library is loaded when its first key is used, and not before.

A wrong PIN is offered once. A token counts wrong PINs and locks itself after a few; a service that
is started again and again would use them up. So whoever is no person does not log in to a token
that says that the last PIN was wrong (`token-pin-tries`): a person does, with `kentong keys check`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from typing_extensions import override

from keys.errors import SignatureError, TokenError
from keys.passphrase import read_passphrase
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import PUBLIC_BYTES, SIGNATURE_BYTES, VerifyKey
from keys.tokenuri import TokenURI

ED25519_OID: Final = bytes.fromhex("06032b6570")  # RFC 8410 section 3: 1.3.101.112
ED25519_NAME: Final = b"\x13\x0cedwards25519"  # PKCS#11 3.0 section 2.3.5: as a printable string
_POINT_HEAD: Final = bytes((0x04, PUBLIC_BYTES))  # DER: an octet string as long as the key
_ID_BYTES: Final = 8
_COUNT_LOW: Final = 0x10000  # PKCS#11 3.0 section 4.5, CKF_USER_PIN_COUNT_LOW and the next two
_FINAL_TRY: Final = 0x20000
_LOCKED: Final = 0x40000

PINSource = Callable[[], bytes]
"""Returns the PIN of a token whose URI names no file of it. Raises KeyFileError: there is none."""


def no_pin() -> bytes:
    """Refuse: whoever asks was not meant to use a token.

    Raises:
        TokenError: Always.
    """
    raise TokenError("no-pin", "no PIN was given for the token")


class TokenKey:
    """A private key in a token, known by its public half. Its `repr` is silent.

    The token is opened at the first signature, or by `check`. When it fails, it is opened once
    more: so a token that was unplugged and is back signs again.
    """

    def __init__(self, where: TokenURI, public: bytes, pin: PINSource = no_pin) -> None:
        self.where = where
        self.public = VerifyKey(public)
        self._pin = pin
        self._key: Any = None  # The library's handle; Any, for the library may not be here.
        self._opening = 0  # Which opening of the token the handle belongs to.

    @override
    def __repr__(self) -> str:
        return "TokenKey(...)"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`; the caller waits for the token.

        Raises:
            TokenError: `token-absent`, `token-pin`, `token-failed` and what else `check` raises.
        """
        library = _library(self.where)
        if self._key is None or self._opening != library.opening:
            self._open(library, anew=False)
        try:
            return self._sign(library, message)
        except library.error:
            self._open(library, anew=True)
        try:
            return self._sign(library, message)
        except library.error as error:
            raise _failed(self.where, error) from error

    def check(self, *, by_person: bool = False) -> None:
        """Return if the token is there, opens, and signs as the public half says.

        Args:
            by_person: Whether a person stands behind the PIN: then it is tried although the last
                one was wrong.

        Raises:
            TokenError: `token-absent`, `token-pin`, `token-pin-tries`, `token-locked`,
                `token-no-key`, `token-key-type`, `token-other-key` or `token-failed`; each says
                what to do.
        """
        library = _library(self.where)
        self._open(library, anew=False, by_person=by_person)
        message = b"kentong/token/check/1\0" + random_bytes(32)
        try:
            self.public.verify(self.sign(message), message)
        except SignatureError as error:
            raise _other_key(self.where) from error

    def _open(self, library: "_Library", *, anew: bool, by_person: bool = False) -> None:
        session = library.session(self.where, self._pin, anew=anew, by_person=by_person)
        key = library.find(session, self.where, private=True)
        if library.has_public(session, self.where) and self.public.raw != library.public(
            session, self.where
        ):
            raise _other_key(self.where)
        self._key, self._opening = key, library.opening

    def _sign(self, library: "_Library", message: bytes) -> bytes:
        signature = bytes(self._key.sign(message, mechanism=library.names.Mechanism.EDDSA))
        if len(signature) != SIGNATURE_BYTES:
            raise TokenError("token-failed", f"the token {self.where.called} signs otherwise")
        return signature


def token_key(where: TokenURI, pin: PINSource) -> TokenKey:
    """Return the key that is in the token already, whose public half the token tells.

    Raises:
        TokenError: As `TokenKey.check`.
    """
    library = _library(where)
    session = library.session(where, pin, anew=False, by_person=True)
    library.find(session, where, private=True)
    key = TokenKey(where, library.public(session, where), pin)
    key.check(by_person=True)
    return key


def make_token_key(where: TokenURI, pin: PINSource) -> TokenKey:
    """Make a key pair in the token; its private half can never be read out.

    Raises:
        TokenError: `exists`: a key is called so already. Or as `TokenKey.check`.
    """
    library = _library(where)
    session = library.session(where, pin, anew=False, by_person=True)
    if library.any_key(session, where):
        raise TokenError(
            "exists", f"the token {where.called} has a key {where.key_called}: choose another name"
        )
    library.make(session, where)
    return token_key(where, pin)


def check_tries(flags: int, where: TokenURI, *, by_person: bool) -> None:
    """Return if a PIN may be offered to a token that shows these flags.

    Raises:
        TokenError: `token-locked`, or `token-pin-tries` for a service.
    """
    if flags & _LOCKED:
        raise TokenError(
            "token-locked",
            f"the token {where.called} locked itself after wrong PINs:"
            " its security officer must set a new one",
        )
    if flags & (_COUNT_LOW | _FINAL_TRY) and not by_person:
        raise TokenError(
            "token-pin-tries",
            f"the last PIN given to the token {where.called} was wrong, and it locks itself"
            " after a few: correct the PIN's file, then run kentong keys check",
        )


@dataclass
class _Library:
    """One token library, loaded into this process.

    PKCS#11 keeps its state for each process and library: who is logged in, what is open. So all
    keys of a library share this object.

    Attributes:
        names: The module `pkcs11`.
        opening: Counts up whenever every handle before became void.
    """

    path: str
    names: ModuleType
    opening: int = 0
    _sessions: dict[tuple[tuple[str, str], ...], Any] = field(default_factory=dict)

    @property
    def error(self) -> type[Exception]:
        """What the library raises."""
        found: type[Exception] = self.names.PKCS11Error
        return found

    def session(self, where: TokenURI, pin: PINSource, *, anew: bool, by_person: bool) -> Any:  # noqa: ANN401 - of the library
        """Return a session on the token, logged in; with `anew`, everything is opened again."""
        if anew:
            self._begin_anew(where)
        if (found := self._sessions.get(where.token)) is not None:
            return found
        token = self._token(where)
        check_tries(int(token.flags), where, by_person=by_person)
        opened = self._log_in(token, where, pin)
        self._sessions[where.token] = opened
        return opened

    def find(self, session: Any, where: TokenURI, *, private: bool) -> Any:  # noqa: ANN401 - of the library
        """Return the key, which is Ed25519."""
        names = self.names
        kind = names.ObjectClass.PRIVATE_KEY if private else names.ObjectClass.PUBLIC_KEY
        try:
            found = list(session.get_objects({names.Attribute.CLASS: kind, **self._named(where)}))
        except self.error as error:
            raise _failed(where, error) from error
        half = "private" if private else "public"
        if len(found) != 1:
            what = f"{len(found)} {half} keys called" if found else f"no {half} key called"
            raise TokenError(
                "token-no-key",
                f"the token {where.called} has {what} {where.key_called}: name one that it has,"
                " or make one with kentong keys make",
            )
        if found[0].key_type != names.KeyType.EC_EDWARDS or not self._is_ed25519(found[0], where):
            raise TokenError(
                "token-key-type",
                f"the key {where.key_called} of the token {where.called} is no Ed25519 key:"
                " make one with kentong keys make",
            )
        return found[0]

    def any_key(self, session: Any, where: TokenURI) -> bool:  # noqa: ANN401 - of the library
        """Return whether an object is called so already, of whatever kind."""
        try:
            return bool(list(session.get_objects(self._named(where))))
        except self.error as error:
            raise _failed(where, error) from error

    def has_public(self, session: Any, where: TokenURI) -> bool:  # noqa: ANN401 - of the library
        """Return whether the token keeps the public half too."""
        kind = self.names.ObjectClass.PUBLIC_KEY
        asked = {self.names.Attribute.CLASS: kind, **self._named(where)}
        try:
            return bool(list(session.get_objects(asked)))
        except self.error as error:
            raise _failed(where, error) from error

    def public(self, session: Any, where: TokenURI) -> bytes:  # noqa: ANN401 - of the library
        """Return the raw public key that the token tells."""
        found = self.find(session, where, private=False)
        point = bytes(found[self.names.Attribute.EC_POINT]).removeprefix(_POINT_HEAD)
        if len(point) != PUBLIC_BYTES:
            raise TokenError("token-key-type", f"the key {where.key_called} has another form")
        return point

    def make(self, session: Any, where: TokenURI) -> None:  # noqa: ANN401 - of the library
        """Make a key pair."""
        names = self.names
        attribute, private = names.Attribute, {}
        private[attribute.SENSITIVE], private[attribute.EXTRACTABLE] = True, False
        try:
            curve = session.create_domain_parameters(
                names.KeyType.EC_EDWARDS, {attribute.EC_PARAMS: ED25519_OID}, local=True
            )
            curve.generate_keypair(
                mechanism=names.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                store=True,
                label=where.label or where.ident.hex(),
                id=where.ident or random_bytes(_ID_BYTES),
                private_template=private,
            )
        except self.error as error:
            raise TokenError(
                "token-failed",
                f"the token {where.called} makes no Ed25519 key ({_said(error)}): it must know"
                " CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EDDSA, and be writable",
            ) from error

    def _named(self, where: TokenURI) -> Mapping[Any, object]:
        named: dict[Any, object] = {}
        if where.label:
            named[self.names.Attribute.LABEL] = where.label
        if where.ident:
            named[self.names.Attribute.ID] = where.ident
        return named

    def _is_ed25519(self, key: Any, where: TokenURI) -> bool:  # noqa: ANN401 - of the library
        try:
            curve = bytes(key[self.names.Attribute.EC_PARAMS])
        except self.error as error:
            raise _failed(where, error) from error
        return curve in {ED25519_OID, ED25519_NAME}

    def _token(self, where: TokenURI) -> Any:  # noqa: ANN401 - of the library
        said = dict(where.token)
        try:
            slots = self._loaded().get_slots(token_present=True)
            tokens = [slot.get_token() for slot in slots]
        except self.error as error:
            raise _absent(where) from error
        found = [
            token
            for token in tokens
            if said.get("token", token.label) == token.label
            and said.get("serial", "") in {"", token.serial.decode("ascii", "replace")}
            and said.get("manufacturer", token.manufacturer_id) == token.manufacturer_id
            and said.get("model", token.model) == token.model
        ]
        if not found:
            raise _absent(where)
        if len(found) > 1:
            raise TokenError(
                "bad-token-uri",
                f"there are {len(found)} tokens {where.called}: add serial= to the URI",
            )
        return found[0]

    def _log_in(self, token: Any, where: TokenURI, pin: PINSource) -> Any:  # noqa: ANN401 - of the library
        names = self.names
        given = pin() if where.pin_file is None else read_passphrase(where.pin_file)
        try:
            text = given.decode()
        except UnicodeDecodeError:
            raise TokenError("token-pin", "the PIN is no text in UTF-8: correct it") from None
        try:
            return token.open(rw=True, user_pin=text)
        except (names.PinIncorrect, names.PinInvalid, names.PinLenRange) as error:
            raise TokenError(
                "token-pin",
                f"the token {where.called} refuses the PIN, and locks itself after a few wrong"
                " ones: correct it, then run kentong keys check",
            ) from error
        except names.PinLocked as error:
            raise TokenError(
                "token-locked", f"the token {where.called} is locked: its security officer opens it"
            ) from error
        except names.TokenNotPresent as error:
            raise _absent(where) from error
        except self.error as error:
            raise _failed(where, error) from error

    def _begin_anew(self, where: TokenURI) -> None:
        self._sessions.clear()
        self.opening += 1
        try:
            self._loaded().reinitialize()
        except self.error as error:
            raise _absent(where) from error

    def _loaded(self) -> Any:  # noqa: ANN401 - of the library
        return self.names.lib(self.path)  # initialised, or initialised now


# Owned by this module: what the standard makes the process's own cannot be anybody else's.
_libraries: Final[dict[str, _Library]] = {}


def _library(where: TokenURI) -> _Library:
    if (found := _libraries.get(where.module)) is not None:
        return found
    try:
        import pkcs11  # noqa: PLC0415 - optional: who has no token need not install it
    except ImportError as error:
        raise TokenError(
            "no-pkcs11",
            "keys in tokens need another package: pip install 'kentong[pkcs11]'",
        ) from error
    try:
        pkcs11.lib(where.module)
    except pkcs11.PKCS11Error as error:
        if type(error) is not pkcs11.PKCS11Error:  # it was loaded, and finds no token to work with
            raise _absent(where) from error
        raise TokenError(
            "no-token-library",
            f"{where.module} is no library of a token, or does not start: install what the token's"
            " maker provides, and name that file as module-path",
        ) from error
    _libraries[where.module] = _Library(where.module, pkcs11)
    return _libraries[where.module]


def _absent(where: TokenURI) -> TokenError:
    return TokenError(
        "token-absent",
        f"there is no token {where.called} at {where.module}: plug it in or start its service;"
        " what waits goes on then",
    )


def _other_key(where: TokenURI) -> TokenError:
    return TokenError(
        "token-other-key",
        f"the key {where.key_called} of the token {where.called} is another than the one enrolled:"
        " plug in the right token, or enrol this key with kentong keys rotate --signing",
    )


def _failed(where: TokenURI, error: Exception) -> TokenError:
    return TokenError(
        "token-failed", f"the token {where.called} did not do it ({_said(error)}): see its own log"
    )


def _said(error: Exception) -> str:
    return type(error).__name__  # the vendor's text may hold anything
