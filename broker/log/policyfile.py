"""The policy file: what an auditor writes down of whom to trust. Source: C2SP tlog-policy.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>|none                                exactly once

Items are parted by spaces and tabs; `#` starts a comment at the beginning of a line alone. The
file is bytes: above 0x7F nothing is interpreted, outside of keys, whose names are UTF-8.
"""

from typing import Final

from broker.log.errors import LogError
from broker.log.line import read_number
from broker.log.notekeys import VKey, parse_vkey
from broker.log.policy import MAX_EACH, NONE, Group, KnownLog, Policy, Witness

MAX_POLICY_BYTES: Final = 2 * 1024 * 1024  # all the ML-DSA keys that a policy can have, twice over
_CODE: Final = "bad-policy"
_CONTROLS: Final = frozenset((*range(0x20), 0x7F)) - frozenset(b"\t\n")


def parse_policy(raw: bytes) -> Policy:
    """Return the policy that a file holds. It must be the reader's own, not the audited party's.

    Raises:
        LogError: `bad-policy`, with the number of the line where one is to blame.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise LogError(_CODE, f"a policy has at most {MAX_POLICY_BYTES} bytes")
    if not _CONTROLS.isdisjoint(raw):
        raise LogError(_CODE, "a policy has no control character but tab and line feed")
    if not raw.endswith(b"\n"):
        raise LogError(_CODE, "the last line of a policy ends with a line feed, too")
    reader = _Reader()
    for number, line in enumerate(raw[:-1].split(b"\n"), 1):
        try:
            reader.take(line)
        except LogError as error:
            raise LogError(_CODE, f"line {number} of the policy: {error}") from None
    return reader.policy()


def write_policy(policy: Policy) -> bytes:
    """Return the file of `policy`."""
    rows: list[tuple[bytes | None, ...]] = []
    rows += [(b"log", _text(log.key), log.url) for log in policy.logs]
    rows += [(b"witness", each.name, _text(each.key), each.url) for each in policy.witnesses]
    rows += [(b"group", each.name, b"%d" % each.threshold, *each.members) for each in policy.groups]
    rows += [(b"quorum", NONE if policy.quorum is None else policy.quorum)]
    return b"".join(b" ".join(item for item in row if item is not None) + b"\n" for row in rows)


class _Reader:
    """Lines in their order: a name counts from where it is defined."""

    def __init__(self) -> None:
        self._logs: list[KnownLog] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorums: list[bytes] = []
        self._defined: set[bytes] = set()

    def take(self, line: bytes) -> None:
        """Read one line."""
        match [item for item in line.replace(b"\t", b" ").split(b" ") if item]:
            case []:
                pass
            case [first, *_] if first.startswith(b"#"):
                pass
            case [b"log", key]:
                self._logs.append(KnownLog(_key(key)))
            case [b"log", key, url]:
                self._logs.append(KnownLog(_key(key), url))
            case [b"witness", name, key]:
                self._define(name)
                self._witnesses.append(Witness(name, _key(key)))
            case [b"witness", name, key, url]:
                self._define(name)
                self._witnesses.append(Witness(name, _key(key), url))
            case [b"group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case [b"quorum", name] if not self._quorums:
                self._require(name, NONE)
                self._quorums.append(name)
            case _:
                raise LogError(_CODE, "no such line, or a second quorum")

    def policy(self) -> Policy:
        """Return all that was read."""
        if not self._quorums:
            raise LogError(_CODE, "a policy without a quorum line; `quorum none` demands nothing")
        quorum = None if self._quorums == [NONE] else self._quorums[0]
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), quorum)

    def _group(self, name: bytes, threshold: bytes, members: list[bytes]) -> None:
        for member in members:
            self._require(member)
        self._define(name)
        self._groups.append(Group(name, _threshold(threshold, len(members)), tuple(members)))

    def _define(self, name: bytes) -> None:
        if name == NONE or name in self._defined:
            raise LogError(_CODE, "a name that is defined twice, or 'none'")
        if len(self._defined) >= 2 * MAX_EACH:
            raise LogError(_CODE, f"more than {MAX_EACH} witnesses or groups")
        self._defined.add(name)

    def _require(self, name: bytes, *also: bytes) -> None:
        if name not in self._defined and name not in also:
            raise LogError(_CODE, "a name that no line before this one defines")


def _threshold(text: bytes, members: int) -> int:
    match text:
        case b"any":
            return 1
        case b"all":
            return members
        case _:
            return read_number(text.decode("latin-1"), code=_CODE)


def _key(raw: bytes) -> VKey:
    try:
        return parse_vkey(raw.decode())
    except UnicodeDecodeError:
        raise LogError(_CODE, "a key that is not UTF-8") from None


def _text(key: VKey) -> bytes:
    return key.to_text().encode()
