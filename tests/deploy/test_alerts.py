"""Rules and dashboard name only metrics that a running region shows, and Prometheus takes both."""

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from broker.cli.demo.region import DemoRegion
from schemas.vocabulary import Status
from tests.deploy.programs import DEPLOY, program, ran
from tests.support.monitoring import of_hub, of_node
from tests.support.processes import running_region, warning

pytestmark = pytest.mark.slow

ALERTS = DEPLOY / "alerts"
RULES = {name: ALERTS / f"kentong-{name}.yml" for name in ("hub", "node")}
OF_HUB = ("kentong_hub_", "kentong_log_", "kentong_gateway_", "kentong_process_")
DASHBOARD = DEPLOY / "dashboards" / "kentong.json"
PROMTOOL = "apt-get install prometheus"
NAME = re.compile(r"\bkentong_[a-z_]+")
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
# What a label may say: members, kinds, codes and names of our own parts, never a text or an id.
LABELS = {
    "alarm",
    "certificate",
    "code",
    "le",
    "member",
    "method",
    "outcome",
    "part",
    "process",
    "queue",
    "role",
    "route",
    "server",
    "state",
    "status",
    "traffic",
    "verdict",
    "what",
    "where",
}
VALUE = re.compile(r"[/+A-Za-z0-9][A-Za-z0-9_.:/{}-]{0,47}|\+Inf|")
ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}")
UNITS = ("_seconds", "_bytes", "_total", "_leaves", "_messages", "_records")
# What is counted in itself: things with a name, or 0 and 1.
BARE = {
    "kentong_api_streams",
    "kentong_hub_clock_in_doubt",
    "kentong_hub_connected",
    "kentong_hub_members",
    "kentong_hub_server_up",
    "kentong_hub_servers_not_storing",
    "kentong_hub_streams_behind",
    "kentong_hub_streams_silent",
    "kentong_hub_streams_went_back",
    "kentong_hub_suspended",
    "kentong_log_signer_up",
    "kentong_log_witness_ahead",
    "kentong_log_witnesses_heard",
    "kentong_node_alarm",
    "kentong_node_alarms",
    "kentong_node_connected",
    "kentong_node_directory_fresh",
    "kentong_node_gaps",
    "kentong_node_inbox",
    "kentong_node_outbox",
    "kentong_node_peer_gaps",
    "kentong_node_quarantined",
    "kentong_node_sealing",
    "kentong_process_missing",
}


def rules_of(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES.values() for rule in rules_of(path)]


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def names_in(expressions: list[str]) -> set[str]:
    return {name for expression in expressions for name in NAME.findall(expression)}


def families(text: str) -> list[Metric]:
    found = [
        each for each in text_string_to_metric_families(text) if each.name.startswith("kentong")
    ]
    assert found
    return found


def value(shown: Iterable[Metric], name: str, **labels: str) -> float:
    """Sum of the samples of a name that have these labels."""
    return sum(
        sample.value
        for family in shown
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def until(region: DemoRegion, name: str, **labels: str) -> list[Metric]:
    """What the hub shows once this is above 0."""
    async with asyncio.timeout(60):
        while True:
            shown = families((await of_hub(region, "/metrics")).text)
            if value(shown, name, **labels) > 0:
                return shown
            await asyncio.sleep(0.2)


@pytest.mark.processes
@pytest.mark.timeout(240)
async def test_every_metric_named_is_shown_with_help_and_unit(tmp_path: Path) -> None:
    async with running_region(tmp_path / "r", log=True, nodes=("SG", "MY")) as (
        region,
        processes,
        clients,
    ):
        ready = await of_hub(region, "/readyz")
        assert (ready.status_code, ready.json()["ok"]) == (200, True)
        assert (await of_hub(region, "/healthz")).status_code == 200
        await processes.kill("MY")
        submission = await clients["SG"].send(warning(1, ("MY",), status=Status.ACTUAL))
        await submission.wait("accepted")
        inbox = {"queue": "inbox", "member": "MY"}
        await until(region, "kentong_hub_queue_messages", **inbox)
        copies = {"process": "gateway-1", "verdict": "accepted", "code": "none"}
        await until(region, "kentong_gateway_copies_total", traffic="actual", **copies)
        hub = await until(region, "kentong_log_size_leaves", process="log-sequencer")
        assert value(hub, "kentong_hub_queue_oldest_age_seconds", **inbox) > 0
        assert value(hub, "kentong_hub_certificate_expires_in_seconds", certificate="server") > 0
        node = families((await of_node(region, "SG", "/metrics")).text)
    shown = [each for each in (*hub, *node) if not each.name.endswith("_created")]
    labels = {label for each in shown for sample in each.samples for label in sample.labels.items()}
    assert {name for name, _ in labels} <= LABELS
    assert [label for label in labels if not VALUE.fullmatch(label[1]) or ID.search(label[1])] == []
    named = {each.name + suffix for each in shown for suffix in SUFFIXES[each.type]}
    assert names_in([rule["expr"] for rule in rules()] + queries()) <= named
    assert all(each.documentation for each in shown)
    assert {name for name in named if not name.endswith((*UNITS, *SUFFIXES["histogram"]))} == BARE


def test_each_rule_says_how_urgent_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["runbook"].startswith("docs/runbook.md#"), rule["alert"]


def test_no_rule_about_deliveries_counts_exercises() -> None:
    for rule in rules():
        if "_placed_" in rule["expr"] or "_outbox" in rule["expr"]:
            assert 'traffic="actual"' in rule["expr"], rule["alert"]


def test_the_dashboard_names_its_source_and_has_no_two_panels_in_one_place() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${source}"
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_ministry_and_the_secretariat_each_have_a_file_of_their_own() -> None:
    for site, path in RULES.items():
        for rule in rules_of(path):
            for name in NAME.findall(rule["expr"]):
                assert name.startswith(OF_HUB) == (site == "hub"), rule["alert"]
            jobs = re.findall(r'job="([\w-]+)"', rule["expr"])
            assert set(jobs) <= {f"kentong-{site}"}, rule["alert"]
            assert "absent(" not in rule["expr"] or jobs, rule["alert"]


@pytest.mark.parametrize("site", RULES)
def test_prometheus_takes_the_rules_and_their_tests_hold(site: str) -> None:
    promtool = program("promtool", how=PROMTOOL)
    code, said = ran([promtool, "check", "rules", str(RULES[site])])
    assert code == 0, said
    code, said = ran([promtool, "test", "rules", f"kentong-{site}_test.yml"], folder=ALERTS)
    assert code == 0, said


def test_prometheus_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    promtool = program("promtool", how=PROMTOOL)
    records = [
        {"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    code, said = ran([promtool, "check", "rules", str(file)])
    assert code == 0, said
