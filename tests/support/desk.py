"""A desk that sends a file and has it back, also as a process: its peak memory is its own.

python -m tests.support.desk SENDER_URL SENDER_TOKEN RECIPIENT_URL RECIPIENT_TOKEN FILE OUT
"""

import asyncio
import re
import sys
from pathlib import Path

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError, Client
from schemas.desk import ArrivalState, AttachmentShown, DraftRequest
from schemas.vocabulary import TLP, Purpose, Status


def asked() -> DraftRequest:
    return DraftRequest(
        status=Status.ACTUAL,
        alert=alerts.cyber(clock.now().date()),
        recipients=("MY",),
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )


async def at_least(client: Client, envelope: object, have: int) -> AttachmentShown:
    """The file as MY has it, once so many chunks are there; MY may be dead meanwhile."""
    while True:
        try:
            item = await client.show(envelope)  # type: ignore[arg-type]
        except BrokerError:
            await asyncio.sleep(0.1)  # no event says that a process is up again
            continue
        (shown,) = item.attachments
        if shown.have >= have or shown.state is not ArrivalState.ARRIVING:
            return shown
        await asyncio.sleep(0.05)


async def sent(client: Client, path: Path) -> object:
    request = asked().model_copy(update={"attachments": (await client.attach(path),)})
    submission = await client.send(request)
    await submission.wait("accepted")
    return submission.shown.id


def forget_peak(pid: int | str) -> None:
    """Begin anew with a process's peak, at what is resident now (`proc_pid_clear_refs(5)`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kib(pid: int | str) -> int:
    """Highest resident memory of a process so far, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


async def main(words: list[str]) -> None:
    """Send, wait, save, and say how long it took and the most memory it had."""
    folder, (sender, token, recipient, other), paths = Path(words[0]), words[1:5], words[5:]
    path, out = map(Path, paths)
    passphrase = (folder / "passphrase").read_bytes().strip()
    region = DemoRegion(folder, passphrase, {sender: token, recipient: other})
    key = region.officer(sender)
    forget_peak("self")  # which was of opening that key
    now = asyncio.get_running_loop().time
    began = now()
    async with (
        Client(url=region.url(sender), token=token, officer_key=key) as at_sender,
        Client(url=region.url(recipient), token=other) as at_recipient,
    ):
        envelope = await sent(at_sender, path)
        handed_s = now() - began
        shown = await at_least(at_recipient, envelope, 10**6)
        arrived_s = now() - began
        assert shown.state is ArrivalState.COMPLETE
        await at_recipient.save_attachment(envelope, 1, out)  # type: ignore[arg-type]
    print(f"handed_s={handed_s:.0f} arrived_s={arrived_s:.0f} peak={peak_kib('self')}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
