"""URIs of keys in tokens: what RFC 7512 permits and we need, and nothing passed over."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyFileError
from keys.tokenuri import TokenURI, parse_token_uri

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def test_a_uri_says_which_key_of_which_token() -> None:
    text = (
        "pkcs11:token=My%20token;serial=0a1b;object=sign-2027;id=%01%FF;type=private"
        f"?module-path={MODULE}&pin-source=file:/etc/kentong/pin"
    )
    found = parse_token_uri(text)
    assert found.token == (("token", "My token"), ("serial", "0a1b"))
    assert (found.label, found.ident, found.module) == ("sign-2027", b"\x01\xff", MODULE)
    assert found.pin_file == Path("/etc/kentong/pin")
    assert parse_token_uri(str(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "of this form"),
        ("file:/a", "of this form"),
        ("pkcs11:", "which token"),
        ("pkcs11:object=a", "which token"),
        ("pkcs11:token=a", "which key"),
        ("pkcs11:token=;object=a", "which token"),
        ("pkcs11:token=a;object=b?pin-value=1234", "PIN never stands in a URI"),
        ("pkcs11:token=a;object=b;pin-value=1234", "PIN never stands in a URI"),
        ("pkcs11:token=a;object=b;slot-id=1", "'slot-id' is not known"),
        ("pkcs11:token=a;object=b?x-vendor=1", "'x-vendor' is not known"),
        ("pkcs11:token=a;object=b;type=public", "private one"),
        ("pkcs11:token=a;token=b;object=c", "a bad one or two"),
        ("pkcs11:token=a;object", "a bad one or two"),
        ("pkcs11:token=%zz;object=b", "a bad one or two"),
        ("pkcs11:token=%FF;object=b", "no text"),
        ("pkcs11:token=a%00;object=b", "no text"),
        ("pkcs11:token=a;object=b?pin-source=pin", "full path"),
        (f"pkcs11:token=a;object={'b' * 1100}", "of this form"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(KeyFileError, match=said) as caught:
        parse_token_uri(text)
    assert caught.value.code == "bad-token-uri"
    assert "1234" not in str(caught.value)


def test_a_library_is_named_by_its_full_path_in_the_uri_or_beside_it() -> None:
    bare = parse_token_uri("pkcs11:token=a;object=b")
    assert bare.with_module(MODULE).module == MODULE
    named = parse_token_uri(f"pkcs11:token=a;object=b?module-path={MODULE}")
    assert named.with_module("/other.so").module == MODULE
    for nothing in ("", "libsofthsm2.so"):
        with pytest.raises(KeyFileError, match="KENTONG_PKCS11_MODULE"):
            bare.with_module(nothing)


@given(st.text(max_size=200))
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    for tried in (text, "pkcs11:" + text, "pkcs11:token=a;object=b?" + text):
        with contextlib.suppress(KeyFileError):
            found = parse_token_uri(tried)
            assert parse_token_uri(str(found)) == found


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable)


@given(token=NAMES, label=NAMES, ident=st.binary(max_size=20))
def test_what_is_written_is_read_again(token: str, label: str, ident: bytes) -> None:
    made = TokenURI((("token", token),), label, ident, MODULE)
    assert parse_token_uri(str(made)) == made
