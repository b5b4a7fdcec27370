"""The policy file: its lines, its order, its octets, and how much of it is read."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.notekeys import SignatureType
from broker.log.notesigner import NoteSigner
from broker.log.policy import MAX_EACH, Group, Policy
from broker.log.policyfile import MAX_POLICY_BYTES, parse_policy, write_policy
from tests.log.test_policy import COSIGNERS, GROUPS, LOG_ED, LOG_ML, POLICY, WITNESSES, signer

LOG = LOG_ED.vkey.to_text()
KEYS = [key.vkey.to_text() for key in COSIGNERS]
EXAMPLE = f"""# The example of the specification.
log {LOG}
log\t{LOG_ML.vkey.to_text()}\t

witness X1 {KEYS[0]}
  witness X2   {KEYS[1]}
witness X3 {KEYS[2]}
  # another organisation
group X-witnesses 2 X1 X2 X3
witness Y1 {KEYS[3]}
witness Y2 {KEYS[4]}
witness Y3 {KEYS[5]}
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def code_of(raw: bytes) -> str:
    with pytest.raises(LogError) as caught:
        parse_policy(raw)
    return caught.value.code


def key_of(number: int, kind: int = 1) -> str:
    seed = number.to_bytes(32, "big")
    return NoteSigner(f"k{number}", SignatureType(kind), seed).vkey.to_text()


def test_the_example_of_the_specification_is_read() -> None:
    assert parse_policy(EXAMPLE.encode()) == POLICY
    assert parse_policy(write_policy(POLICY)) == POLICY


def test_a_policy_without_logs_or_witnesses_is_one() -> None:
    assert parse_policy(b"quorum none\n") == Policy((), (), (), None)
    assert write_policy(Policy((), (), (), None)) == b"quorum none\n"


def test_urls_and_names_of_any_octets_are_kept() -> None:
    raw = f"log {LOG} http://l\nwitness ".encode() + b"K\xe2\x84\xaa\xff#"
    raw += f" {KEYS[0]} https://w#x\nquorum ".encode() + b"K\xe2\x84\xaa\xff#\n"
    policy = parse_policy(raw)
    assert (policy.logs[0].url, policy.witnesses[0].url) == (b"http://l", b"https://w#x")
    assert write_policy(policy) == raw
    assert policy.quorum_met({b"K\xe2\x84\xaa\xff#"})
    assert not policy.quorum_met({b"K"})


def test_a_vkey_whose_name_is_not_ascii_is_read() -> None:
    key = signer("wïtness.example", 4, 99).vkey
    assert parse_policy(f"witness a {key.to_text()}\nquorum a\n".encode()).witnesses[0].key == key


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"quorum none",
        b"# no quorum line\n",
        b"quorum none\nquorum none\n",
        b"quorum\n",
        b"quorum none # a comment\n",
        b"quorum a\n",
        b"quorum none\r\n",
        b"quorum none\n\x00\n",
        b"quorum none\n#\x7f\n",
        b"Quorum none\n",
        b"quorum none\nlog\n",
        b"quorum none\nlog \xff+00000000+AAAA\n",
        b"quorum\xc2\xa0none\n",
        f"quorum none\nlog {LOG} a b\n".encode(),
        f"quorum none\nlog {LOG}\nlog {LOG}\n".encode(),
        f"quorum none\nlog {LOG[:-1]}\n".encode(),
        f"quorum none\nwitness {KEYS[0]}\n".encode(),
        f"quorum none\nwitness a {LOG}\n".encode(),
        f"quorum none\nwitness a {KEYS[0]} b c\n".encode(),
        f"quorum none\nwitness none {KEYS[0]}\n".encode(),
        f"quorum none\nwitness a {KEYS[0]}\nwitness a {KEYS[1]}\n".encode(),
        f"quorum none\nwitness a {KEYS[0]}\nwitness b {KEYS[0]}\n".encode(),
        f"quorum a\nwitness a {KEYS[0]}\n".encode(),  # a forward reference
        f"group g any a\nwitness a {KEYS[0]}\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g any g\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g any none\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup none any a\nquorum none\n".encode(),
        f"witness a {KEYS[0]}\ngroup a any a\nquorum a\n".encode(),
        f"witness a {KEYS[0]}\ngroup g any a a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g any a\ngroup h any a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g any\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g 0 a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g 2 a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g 01 a\nquorum g\n".encode(),
        f"witness a {KEYS[0]}\ngroup g \xb9 a\nquorum g\n".encode("latin-1"),
        f"witness a {KEYS[0]}\ngroup g Any a\nquorum g\n".encode(),
        b"#" * MAX_POLICY_BYTES + b"\nquorum none\n",
    ],
)
def test_another_file_is_refused(raw: bytes) -> None:
    assert code_of(raw) == "bad-policy"


def test_the_line_to_blame_is_named() -> None:
    with pytest.raises(LogError, match="line 2 "):
        parse_policy(b"# fine\nnonsense\nquorum none\n")


@pytest.mark.parametrize("count", [32, MAX_EACH])
def test_many_of_each_are_read_and_too_many_are_not(count: int) -> None:
    text = "".join(
        f"log {key_of(at)}\nwitness w{at} {key_of(at + 1000, 4)}\n"
        f"group g{at} all w{at}{f' g{at - 1}' if at else ''}\n"
        for at in range(count)
    )
    policy = parse_policy(f"{text}quorum g{count - 1}\n".encode())
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (count,) * 3
    everybody = {witness.name for witness in policy.witnesses}
    assert policy.quorum_met(everybody)
    assert not policy.quorum_met(everybody - {b"w0"})  # at the far end of all the groups
    if count == MAX_EACH:
        more = f"log {key_of(MAX_EACH)}\n".encode()
        assert code_of(f"{text}quorum none\n".encode() + more) == "bad-policy"
        more = f"group x all w0\nlog {key_of(7)}\n".encode()
        assert code_of(f"{text}quorum none\n".encode() + more) == "bad-policy"
        more = f"witness x {key_of(7000, 4)}\n".encode()
        assert code_of(f"{text}quorum none\n".encode() + more) == "bad-policy"


words = st.sampled_from(
    [b"log", b"witness", b"group", b"quorum", b"none", b"any", b"all", b"1", b"2", b"a", b"g", b"h",
     b"\n", b"\n", b"\n", LOG.encode(), KEYS[0].encode(), KEYS[2].encode()]
)  # fmt: skip


@given(st.binary(max_size=100) | st.lists(words, max_size=30).map(b" ".join))
def test_any_bytes_give_a_policy_that_reads_back_or_our_error(raw: bytes) -> None:
    with suppress(LogError):
        policy = parse_policy(raw + b"\nquorum none\n")
        assert parse_policy(write_policy(policy)) == policy


@given(st.integers(1, 6), st.booleans())
def test_a_policy_comes_back(threshold: int, with_quorum: bool) -> None:  # noqa: FBT001
    group = Group(b"g", threshold, tuple(each.name for each in WITNESSES))
    for groups in ((group,), GROUPS):
        policy = Policy(POLICY.logs, WITNESSES, groups, groups[-1].name if with_quorum else None)
        assert parse_policy(write_policy(policy)) == policy
