"""Signing keys in hardware tokens, with real SoftHSM tokens: what signs, and what is said if not.

Each row runs in a process of its own, as a node does: a token library keeps its state for the
process, and it reads where its tokens are once.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest

from keys.errors import KeyFileError, TokenError
from keys.token import _libraries, _library, check_tries
from keys.tokenuri import parse_token_uri
from tests.support.tokens import MODULE, PIN, SoftTokens, needs_softhsm

pytestmark = needs_softhsm
HEAD = """
import pathlib, sys
from keys.errors import KeysError
from keys.held import entry_of, key_of
from keys.primitives.signing import VerifyKey
from keys.token import TokenKey, make_token_key, token_key
from keys.tokenuri import parse_token_uri
from broker import clock

def pin():
    return pathlib.Path(PIN_FILE).read_bytes().strip()

def where(key, token="kentong"):
    return parse_token_uri(f"pkcs11:token={token};object={key}").with_module(MODULE)

def told(work):
    try:
        print(work() or "done")
    except KeysError as error:
        print(error.code, "|", error)
"""


@dataclass(frozen=True)
class Bench:
    """Where programs of a test find their tokens."""

    tokens: SoftTokens

    def run(self, program: str) -> list[str]:
        """What a program prints, line by line."""
        tokens = self.tokens
        head = f"PIN_FILE = {str(tokens.pin_file)!r}\nMODULE = {str(MODULE)!r}\n{HEAD}"
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", head + program],
            env={**os.environ, **tokens.environment},  # noqa: TID251 - handed on to a child
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SoftTokens.make(tmp_path / "hsm", "kentong", "other"))


def test_a_key_made_in_a_token_signs_and_stays_there(bench: Bench) -> None:
    made, kept, signed, private = bench.run(
        """
key = make_token_key(where("k"), pin)
print(key.public.raw.hex())
entry = entry_of(key, made=clock.now())
print(entry.secret.decode())
again = key_of(entry, pin)
message = b"exact bytes"
VerifyKey(again.public.raw).verify(again.sign(message), message)
print("verified", repr(again))
import pkcs11
session = again._key.session
private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="k")
print(private[pkcs11.Attribute.SENSITIVE], private[pkcs11.Attribute.EXTRACTABLE])
"""
    )
    assert len(bytes.fromhex(made)) == 32
    assert kept.startswith("pkcs11:token=kentong;object=k?module-path=/")
    assert PIN not in kept
    assert signed == "verified TokenKey(...)"
    assert private == "True False"


def test_two_keys_of_one_token_share_its_login(bench: Bench) -> None:
    assert bench.run(
        """
one, two = make_token_key(where("a"), pin), make_token_key(where("b"), pin)
other = make_token_key(where("c", "other"), pin)
for key in (one, two, other, one):
    key.public.verify(key.sign(b"m"), b"m")
print(len({one.public.raw, two.public.raw, other.public.raw}))
"""
    ) == ["3"]


# name -> program, code, and what the sentence tells to do
WRONG: dict[str, tuple[str, str, str]] = {
    "the token is absent": (
        'told(lambda: token_key(where("k", "nowhere"), pin))',
        "token-absent",
        "plug it in",
    ),
    "the key is missing": (
        'told(lambda: token_key(where("none"), pin))',
        "token-no-key",
        "make one with kentong keys make",
    ),
    "a key of that name is there": (
        'make_token_key(where("k"), pin); told(lambda: make_token_key(where("k"), pin))',
        "exists",
        "choose another name",
    ),
    "the PIN is wrong": (
        'told(lambda: token_key(where("k"), lambda: b"0000"))',
        "token-pin",
        "kentong keys check",
    ),
    "the library is none": (
        'MODULE = "/x.so"; told(lambda: token_key(where("k"), pin))',
        "no-token-library",
        "install what the token's maker provides",
    ),
    "another key is enrolled": (
        'key = make_token_key(where("k"), pin); told(TokenKey(key.where, bytes(32), pin).check)',
        "token-other-key",
        "plug in the right token",
    ),
    "the key is of another kind": (
        """
make_token_key(where("k"), pin)
import pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
session = pkcs11.lib(MODULE).get_token(token_label="other").open(rw=True, user_pin=pin().decode())
curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
parameters.generate_keypair(store=True, label="p256")
session.close()
told(lambda: token_key(where("p256", "other"), pin))
""",
        "token-key-type",
        "make one with kentong keys make",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_what_to_do(bench: Bench, name: str) -> None:
    program, code, advice = WRONG[name]
    said = bench.run(program)[-1]
    assert said.startswith(f"{code} | "), said
    assert advice in said
    assert PIN not in said


def test_a_service_offers_a_wrong_pin_once_and_a_person_sets_it_right(bench: Bench) -> None:
    """A service is started again and again: it must not use up what PINs a token permits."""
    public = bench.run('print(make_token_key(where("k"), pin).public.raw.hex())')[0]
    use = f'key = TokenKey(where("k"), bytes.fromhex("{public}"), pin); '
    bench.tokens.offer("0000")
    tried = [bench.run(use + "told(key.check)")[0].split(" | ")[0] for _ in range(3)]
    assert tried == ["token-pin", "token-pin-tries", "token-pin-tries"]
    bench.tokens.offer(PIN)
    assert bench.run(use + "told(key.check)")[0].startswith("token-pin-tries | ")
    assert bench.run(use + "told(lambda: key.check(by_person=True))") == ["done"]
    assert bench.run(use + "told(key.check)") == ["done"]


def test_a_token_taken_out_while_running_is_named_and_signs_again_once_it_is_back(
    bench: Bench,
) -> None:
    said = bench.run(
        f"""
import os
store, drawer = {str(bench.tokens.store)!r}, {str(bench.tokens.folder / "drawer")!r}
key = make_token_key(where("k"), pin)
second = make_token_key(where("l"), pin)
os.rename(store, drawer)
told(lambda: key.sign(b"m") and None)
told(lambda: key.sign(b"m") and None)
os.rename(drawer, store)
for each in (key, second, key):
    each.public.verify(each.sign(b"m"), b"m")
print("signs")
"""
    )
    assert [line.split(" | ")[0] for line in said] == ["token-absent", "token-absent", "signs"]
    assert "plug it in or start its service" in said[0]


@pytest.mark.parametrize(
    ("flag", "service", "person"),
    [
        ("USER_PIN_COUNT_LOW", "token-pin-tries", ""),
        ("USER_PIN_FINAL_TRY", "token-pin-tries", ""),
        ("USER_PIN_LOCKED", "token-locked", "token-locked"),
        ("USER_PIN_INITIALIZED", "", ""),
    ],
)
def test_who_may_offer_a_pin_to_a_token_that_counted_wrong_ones(
    flag: str, service: str, person: str
) -> None:
    """SoftHSM never locks: the flags of others are judged here."""
    where = parse_token_uri("pkcs11:token=card;object=k")
    for code, by_person in ((service, False), (person, True)):
        try:
            check_tries(int(pkcs11.TokenFlag[flag]), where, by_person=by_person)
        except TokenError as error:
            said = error.code
        else:
            said = ""
        assert said == code


def without_the_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    return lambda: _library(parse_token_uri("pkcs11:token=a;object=b?module-path=/none.so"))


def test_who_has_no_token_needs_no_library_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    load = without_the_library(monkeypatch)
    with pytest.raises(KeyFileError, match=r"pip install 'kentong\[pkcs11\]'") as caught:
        load()
    assert caught.value.code == "no-pkcs11"
    assert "/none.so" not in _libraries


def test_the_rest_works_without_it() -> None:
    program = "import sys; sys.modules['pkcs11'] = None; import broker.cli.admin.node, "
    words = [sys.executable, "-c", program + "broker.cli.admin.gateway, broker.cli.admin.keys"]
    subprocess.run(words, capture_output=True, check=True, timeout=60)  # noqa: S603 - our own
