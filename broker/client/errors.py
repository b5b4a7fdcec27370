"""Why something did not work, by what a caller does about it."""
# ruff: noqa: N818 - `except Unreachable` says what happened; the suffix would not

from typing import TYPE_CHECKING, Final

from broker.errors import BrokerError, Retry
from schemas.desk import Problem, Submission

if TYPE_CHECKING:
    from broker.client.signing import SignedDraft


class Unreachable(BrokerError):
    """The node did not answer, and was asked for nothing that matters. Try again later."""

    def __init__(self, message: str, *, code: str = "unreachable") -> None:
        super().__init__(code, message, retry="later")


class OutcomeUnknown(Unreachable):
    """A submission was sent and its answer lost: it may be queued or not.

    Do not `send` anew, which could say the same twice: `submit(error.signed)` cannot.

    Attributes:
        signed: What was being submitted, with its idempotency key.
        told: Code of the node's last answer, such as `disk-full`; empty if none came.
    """

    def __init__(self, signed: "SignedDraft", told: str = "") -> None:
        why = f"the node could not keep it now ({told})" if told else "the node's answer was lost"
        super().__init__(f"{why}; submit the same signed draft again", code="outcome-unknown")
        self.signed = signed
        self.told = told


class ProblemError(BrokerError):
    """The node answered with a refusal.

    Attributes:
        status: HTTP status.
        field: Dotted path of what is wrong in the request; empty for the whole.
        retry_after_s: When to ask again, if the node said so.
    """

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(problem.code, problem.detail, retry=problem.retry)
        self.status = problem.status
        self.field = problem.field
        self.retry_after_s = retry_after_s


class Refused(ProblemError):
    """The request itself is at fault; it will be refused again."""


class NotAuthorised(ProblemError):
    """The token or the officer may not do this."""


class NotFound(ProblemError):
    """The node knows nothing under this id."""


class Conflict(ProblemError):
    """The request does not fit the state that it met."""


class Unavailable(ProblemError):
    """The node cannot now: busy, without a directory, or at fault. Try again later."""


class UntrustedDraft(BrokerError):
    """What the node gave to sign is not what was asked for; nothing was signed.

    Attributes:
        part: Which part differs.
    """

    def __init__(self, part: str) -> None:
        text = f"the node's draft differs from what was asked ({part}); nothing was signed"
        super().__init__("draft-differs", text)
        self.part = part


class BadAnswer(BrokerError):
    """What answered does not speak this version of the API."""

    def __init__(self) -> None:
        super().__init__("bad-answer", "the answer is not one of a Kentong node of this version")


class LocalError(BrokerError):
    """A profile, token or key on this machine is missing, damaged or too open."""


class NotAccepted(BrokerError):
    """Everything is decided, and nobody was reached.

    Attributes:
        submission: With each recipient's state, code and rule.
    """

    def __init__(self, code: str, submission: Submission) -> None:
        super().__init__(code, _NOBODY.get(code, "no recipient's copy was accepted"))
        self.submission = submission


class Undecided(BrokerError):
    """Not all is known yet, or a person must look first. What was queued stays queued.

    Attributes:
        submission: As it was last seen.
    """

    def __init__(self, code: str, submission: Submission) -> None:
        text = "a person must look at it" if code == "needs-attention" else "not all is known yet"
        super().__init__(code, text, retry="later")
        self.submission = submission


_NOBODY: Final = {
    "cancelled": "it was cancelled",
    "not-delivered": "no accepted copy reached its recipient",
}
_BY_STATUS: Final[dict[int, type[ProblemError]]] = {
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    429: Unavailable,
}


def error_of(problem: Problem, *, retry_after_s: float | None = None) -> ProblemError:
    """Return the error whose class says what to do."""
    fault = Unavailable if problem.status >= 500 else Refused  # noqa: PLR2004 - RFC 9110 section 15.6
    kind = _BY_STATUS.get(problem.status, fault)
    return kind(problem, retry_after_s=retry_after_s)


__all__ = [
    "BadAnswer",
    "Conflict",
    "LocalError",
    "NotAccepted",
    "NotAuthorised",
    "NotFound",
    "OutcomeUnknown",
    "ProblemError",
    "Refused",
    "Retry",
    "Unavailable",
    "Undecided",
    "Unreachable",
    "UntrustedDraft",
    "error_of",
]
