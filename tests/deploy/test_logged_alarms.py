"""No alarm is told by a log alone: each is shown, has a rule, and stands in the runbook."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from broker.logs import configure, get_logger
from broker.monitoring.alarmlines import OF_HUB, OF_NODE, OF_PROCESS, AlarmLines
from tests.deploy.programs import DEPLOY

ROOT = DEPLOY.parent
LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}
TREES = {
    path: ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "broker").rglob("*.py"))
}
RULES = {
    "node": ({OF_NODE}, "KentongNodeAlarmLogged"),
    "hub": ({OF_HUB, OF_PROCESS}, "KentongHubAlarmLogged"),
}


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                yield name, text


def imported(tree: ast.Module, name: str) -> str:
    """The module from which a name comes, as a path."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in {each.name for each in node.names}:
            return f"{(node.module or '').replace('.', '/')}.py"
    return ""


def words() -> set[str]:
    """Every word that code logs as an alarm, as far as it stands in the code."""
    known: Mapping[Path, Mapping[str, str]] = {
        path: dict(constants(tree)) for path, tree in TREES.items()
    }
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in LOGGING:
                continue
            for given in (each.value for each in node.keywords if each.arg == "alarm"):
                match given:
                    case ast.Constant(value=str(word)):
                        found.add(word)
                    case ast.Name(id=name):
                        own = known[path].get(name)
                        there = known.get(ROOT / imported(tree, name), {}).get(name)
                        found |= {each for each in (own, there) if each is not None}
                    case _:  # the code of an error; the rule takes whatever word it is
                        pass
    return found


def test_the_runbook_names_every_alarm_that_is_logged() -> None:
    found = words()
    assert {"database-not-looked-at", "chunks-damaged", "record-lost", "log-fork"} <= found
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    part = text.partition("\n## Alarms in the log\n")[2].partition("\n## ")[0]
    assert sorted(word for word in found if f"`{word}`" not in part) == []


@pytest.mark.parametrize("site", RULES)
def test_a_rule_speaks_of_whatever_alarm_is_logged(site: str) -> None:
    """It names no word, so that no new one is forgotten."""
    metrics, name = RULES[site]
    text = (DEPLOY / "alerts" / f"kentong-{site}.yml").read_text("utf-8")
    (rule,) = (
        rule
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
        if rule["alert"] == name
    )
    assert all(metric in rule["expr"] for metric in metrics)
    assert "{" not in rule["expr"]
    assert "$labels.alarm" in rule["annotations"]["summary"]


def test_a_logged_alarm_shows_in_what_monitoring_reads(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        configure("test")
        get_logger().error("made-up", alarm="an-alarm-of-this-test")
        get_logger().error("made-up", alarm="not a word: dropped")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert "an-alarm-of-this-test" in capsys.readouterr().err
    registry = CollectorRegistry()
    registry.register(AlarmLines(OF_PROCESS))
    shown = generate_latest(registry).decode()
    assert f'{OF_PROCESS}{{alarm="an-alarm-of-this-test"}}' in shown
    assert "not a word" not in shown
