"""The log of the model's region: it runs, is stopped wherever it is, recovers, and is read whole.

Its work lives in this process, as the nodes' does. What it left to threads goes on for a moment
after it was cancelled, as no killed process would; so whoever stops it waits for these.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from broker import clock
from broker.ledger.commit import Committer
from broker.ledger.intake import GatewayKey, Witnessed
from broker.ledger.sequencer import Sequencer
from broker.log.audited import parse_audited
from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.merkle import Frontier, leaf_hash
from broker.log.note import parse_note
from broker.log.notekeys import verify_note
from broker.log.recordkeys import RecordKeys
from broker.log.tiles import bundles_of
from broker.transport.errors import TransportError
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from tests.ledger.growing import KEY, ORIGIN, a_log
from tests.support.background import at_work
from tests.support.hub import BOUND_S, RunningHub


@dataclass
class Logged:
    """One log, its signer, and who makes it grow.

    Attributes:
        own: A link of the hub's, by which the test reads.
        keys: The gateway's, as the directory has them now.
    """

    folder: Path
    hub: RunningHub
    own: Link
    keys: Callable[[], Iterable[GatewayKey]]
    pen: Witnessed = field(default_factory=lambda: Witnessed(SignKey.generate()))
    roots: dict[int, bytes] = field(default_factory=dict)  # At each look.
    _threads: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor)

    def __post_init__(self) -> None:
        asyncio.get_running_loop().set_default_executor(self._threads)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Grow for ever; at the end it stops at once, wherever it is."""
        try:
            async with at_work(self._keep()):
                yield
        finally:
            await self._wait_for_threads()

    async def _keep(self) -> None:
        while True:
            try:
                async with a_log(self.folder) as committer, self.hub.hub_link() as link:
                    await link.wait_connected(BOUND_S)
                    await self._sequencer(link, committer).run()
            except* TransportError:  # the server was killed; anything else ends the test
                pass

    async def _wait_for_threads(self) -> None:
        before, self._threads = self._threads, ThreadPoolExecutor()
        asyncio.get_running_loop().set_default_executor(self._threads)
        await asyncio.to_thread(before.shutdown)

    def _sequencer(self, link: Link, committer: Committer) -> Sequencer:
        return Sequencer(link, committer, lambda: tuple(self.keys()), self.pen)

    async def read(self, records: RecordKeys) -> dict[UUID, list[LeafKind]]:
        """What the log says of each envelope, once it has caught up; its tree is as signed.

        While it does not run: it recovers, as at each start.
        """
        await self.own.wait_connected(BOUND_S)  # the hub may have been killed just now
        async with a_log(self.folder) as committer:
            size = (await committer.recover()).size
            sequencer = self._sequencer(self.own, committer)
            while (grown := await sequencer.step(size)) != size:
                size = grown
            self._check_tree(committer, size)
            return await self._found(committer, size, records)

    async def _found(
        self, committer: Committer, size: int, records: RecordKeys
    ) -> dict[UUID, list[LeafKind]]:
        found: dict[UUID, list[LeafKind]] = {}
        stream = f"AUDIT_{clock.now().year}"
        for tile in bundles_of(size):
            for raw in committer.files.read(tile):
                leaf = parse_leaf(raw)
                statement = leaf.signed.statement
                if statement.kind not in {LeafKind.DECISION, LeafKind.EXERCISE}:
                    continue
                stored = await self.own.get(stream, leaf.stream_seq)
                assert stored is not None
                ident = parse_audited(stored.payload).open(records).decision.header.id
                assert ident is not None
                found.setdefault(ident, []).append(statement.kind)
        return found

    def _check_tree(self, committer: Committer, size: int) -> None:
        """Hold all leaves against the checkpoint shown, and against those seen before."""
        files = committer.files
        raw = files.checkpoint()
        assert raw is not None
        note = parse_note(raw)
        assert verify_note(note, (KEY.vkey,))
        shown = parse_checkpoint(note.text)
        assert (shown.origin, shown.size) == (ORIGIN, size)
        self.roots[shown.size] = shown.root
        hashes = [leaf_hash(leaf) for tile in bundles_of(size) for leaf in files.read(tile)]
        assert len(hashes) == size
        for earlier, root in self.roots.items():
            assert Frontier().append(hashes[:earlier]).root() == root, earlier
