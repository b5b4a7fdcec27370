"""A hub says which of its processes never reported: they have no series that could fall silent."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker import clock
from broker.hub.measures import HubMeasures
from broker.hub.place import HubPlace
from broker.hub.pulse import Pulse
from broker.hub.settings import HubConfig
from broker.monitoring.joined import MISSING
from keys.files import make_private_folder
from keys.primitives.signing import SignKey
from schemas.directory import LogDocument
from tests.support.region import make_region


def missing(measures: HubMeasures) -> dict[str, float]:
    (family,) = (each for each in measures.families(clock.now()) if each.name == MISSING)
    return {sample.labels["process"]: sample.value for sample in family.samples}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_a_log_that_must_run_and_does_not_report_is_missing(
    tmp_path: Path, *, named: bool, made: bool
) -> None:
    """Named by the directory, or made in this home: one of both is enough."""
    view = make_region(("SG", "MY"), now=clock.now()).view
    raw = SignKey.generate().public.raw
    log = LogDocument(origin="log.example/x", ed25519=raw, ml_dsa_44=bytes(1312), sequencer=raw)
    if named:
        view = replace(view, hub=view.hub.model_copy(update={"log": log}))
    place, pulse = HubPlace(tmp_path), Pulse(view=view)
    measures = HubMeasures(place, HubConfig(gateways=1), pulse, made)
    make_private_folder(place.reports)
    expected = {"log-sequencer", "gateway-1"} if named or made else {"gateway-1"}
    assert missing(measures) == dict.fromkeys(expected, 1)
    for process in expected:
        (place.reports / f"{process}.prom").write_text("")
    assert missing(measures) == dict.fromkeys(expected, 0)
