"""The answers for which one connection waits: one inbox, one future for what was asked together.

A subscription, a timer and a future for each publish would cost more than the publish. An answer
that comes too late, comes twice, or was meant for a connection that is gone, meets nobody.
"""

import asyncio
import itertools

from nats.aio.msg import Msg


class Asked:
    """What was asked together, and what was answered until now.

    Attributes:
        replies: Where the answer to each is to be sent.
        answers: In the same order; None where none came.
    """

    __slots__ = ("_done", "_left", "answers", "replies")

    def __init__(self, replies: list[str]) -> None:
        """Wait for as many answers as there are places for them."""
        self.replies = replies
        self.answers: list[Msg | None] = [None] * len(replies)
        self._left = len(replies)
        self._done = asyncio.get_running_loop().create_future()

    async def wait(self, timeout_s: float) -> float:
        """Return once all are answered, the line is lost, or after `timeout_s`; how long it was."""
        # A timer of the loop: `asyncio.timeout` costs several times as much.
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        timer = loop.call_later(timeout_s, self.give_up)
        try:
            await self._done
        finally:
            timer.cancel()
        return loop.time() - asked_at

    def answered(self, position: int, answer: Msg) -> None:
        """Take the first answer to one of the questions."""
        if self.answers[position] is None:
            self.answers[position] = answer
            self._left -= 1
            if not self._left:
                self.give_up()

    def give_up(self) -> None:
        """Wait for no more."""
        if not self._done.done():
            self._done.set_result(None)


class AckMultiplexer:
    """Hands each answer of a connection to whoever asked. Owned by one event loop."""

    def __init__(self) -> None:
        """Wait for nothing, on no inbox yet."""
        self._inbox = ""
        self._tokens = itertools.count()
        self._waiting: dict[str, tuple[Asked, int]] = {}

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self._waiting)

    def opened(self, inbox: str) -> None:
        """Take the inbox of a new connection; nobody guesses it.

        Args:
            inbox: Everything below it comes to `arrived`.
        """
        self._inbox = inbox

    def ask(self, count: int) -> Asked:
        """Return the places of `count` answers; to be forgotten with `forget`, whatever comes."""
        asked = Asked([f"{self._inbox}.{next(self._tokens)}" for _ in range(count)])
        for position, reply in enumerate(asked.replies):
            self._waiting[reply] = (asked, position)
        return asked

    def forget(self, asked: Asked) -> None:
        """Drop what still comes for `asked`."""
        for reply in asked.replies:
            del self._waiting[reply]

    def arrived(self, answer: Msg) -> None:
        """Hand `answer` on, if anybody waits for it."""
        if found := self._waiting.get(answer.subject):
            asked, position = found
            asked.answered(position, answer)

    def lost(self) -> None:
        """Let everybody go who waits: the connection is gone, and no answer will come."""
        for asked, _ in list(self._waiting.values()):
            asked.give_up()
