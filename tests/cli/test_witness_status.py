"""What `kentong witness status` shows of own mail: what is proved, what waits, what is late."""

import pytest

from broker.cli.admin.witness import _show
from schemas.desk import LogShown

LOG = LogShown(
    origin="log.example",
    cosigned_size=9,
    cosigned_at=None,
    copied=9,
    proven=9,
    root="",
    witnesses=3,
    cosigned_by=(),
    witnessed_at=None,
    own_proved=41,
    own_waiting=3,
    own_overdue=2,
)


def test_what_was_not_proved_in_time_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    _show(LOG)
    rows = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [(name.strip(), count) for name, count in rows[-3:]] == [
        ("own mail proved", "41"),
        ("not proved yet", "3"),
        ("not proved in time", "2"),
    ]
    assert LOG.model_dump(mode="json")["own_overdue"] == 2
