"""The chart renders to what is committed beside it; with helm at hand, helm says the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.store.postgresql import CREDENTIAL
from tests.deploy.gotemplate import render
from tests.deploy.programs import DEPLOY, program, ran

CHART = DEPLOY / "helm" / "kentong"
EXAMPLE = DEPLOY / "helm" / "rendered" / "example.yaml"
RELEASE = "example"
HELM = "see https://helm.sh/docs/intro/install/"


def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return found


def rendered(chosen: dict[str, Any]) -> list[dict[str, Any]]:
    texts = [
        render(path.read_text("utf-8"), chosen, RELEASE)
        for path in sorted((CHART / "templates").glob("*.yaml"))
    ]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def containers(chosen: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        container
        for each in rendered(chosen)
        if each["kind"] == "StatefulSet"
        for container in each["spec"]["template"]["spec"]["containers"]
    ]


def test_the_committed_example_is_what_the_chart_renders() -> None:
    assert list(yaml.safe_load_all(EXAMPLE.read_text("utf-8"))) == rendered(values())


def test_each_pod_is_confined_and_gets_its_passphrase_as_a_plain_file() -> None:
    assert len(containers(values())) == 2
    for each in rendered(values()):
        if each["kind"] != "StatefulSet":
            continue
        pod = each["spec"]["template"]["spec"]
        assert each["spec"]["replicas"] == 1
        assert not pod["automountServiceAccountToken"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        (secret,) = (m for m in container["volumeMounts"] if m["name"] == "passphrase")
        assert secret["subPath"] == "passphrase"
        assert not any("value" in e and "passphrase" in e["value"] for e in container["env"])


@pytest.mark.parametrize("of", ["hub", "node-sg"])
def test_who_has_a_database_gets_its_password_as_a_plain_file(of: str) -> None:
    chosen = values()
    (chosen["nodes"]["sg"] if of == "node-sg" else chosen["hub"])["databaseSecret"] = "theirs"
    (pod,) = (
        each["spec"]["template"]["spec"]
        for each in rendered(chosen)
        if each["kind"] == "StatefulSet" and each["metadata"]["name"] == f"{RELEASE}-{of}"
    )
    (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == CREDENTIAL)
    assert (mount["mountPath"], mount["subPath"]) == (f"/run/credentials/{CREDENTIAL}", CREDENTIAL)
    (volume,) = (each for each in pod["volumes"] if each["name"] == CREDENTIAL)
    assert volume["secret"]["secretName"] == "theirs"


def test_a_node_is_ready_for_desks_without_its_hub() -> None:
    probes = {
        each["name"]: each["readinessProbe"]["exec"]["command"][-1] for each in containers(values())
    }
    assert probes == {"hub": "/readyz", "node": "/readyz?for=desks"}


@pytest.mark.parametrize(("hub", "nodes"), [(False, 1), (True, 0), (False, 2)])
def test_hub_and_nodes_are_installed_apart(hub: bool, nodes: int) -> None:  # noqa: FBT001 - a case
    chosen = values()
    chosen["hub"]["enabled"] = hub
    chosen["nodes"] = {f"n{number}": chosen["nodes"]["sg"] for number in range(nodes)}
    names = [each["metadata"]["name"] for each in rendered(chosen) if each["kind"] == "StatefulSet"]
    expected = [f"{RELEASE}-node-n{number}" for number in range(nodes)]
    assert names == [f"{RELEASE}-hub"] * hub + expected


def test_for_a_ceremony_nothing_of_ours_runs_and_nothing_ends_the_pod() -> None:
    chosen = values()
    chosen["ceremony"] = True
    assert len(containers(chosen)) == 2
    for usual, each in zip(containers(values()), containers(chosen), strict=True):
        assert "command" not in usual
        assert each["command"] == ["sh", "-c", "exec sleep infinity"]  # takes no notice of `args`
        assert not {"livenessProbe", "readinessProbe"} & set(each)
        for part in ("volumeMounts", "securityContext", "env"):
            assert each[part] == usual[part]


def test_metrics_are_shown_to_the_namespace_that_is_named() -> None:
    chosen = values()
    for namespace in ("", "observability"):
        chosen["monitoring"]["namespace"] = namespace
        policies = [each for each in rendered(chosen) if each["kind"] == "NetworkPolicy"]
        assert len(policies) == 2
        for policy in policies:
            (source,) = policy["spec"]["ingress"][1]["from"]
            assert source["podSelector"] == {"matchLabels": {"app": "prometheus"}}
            of = {"matchLabels": {"kubernetes.io/metadata.name": namespace}} if namespace else None
            assert source.get("namespaceSelector") == of


def test_helm_takes_the_chart_and_renders_the_same() -> None:
    helm = program("helm", how=HELM)
    code, said = ran([helm, "lint", "--strict", str(CHART)])
    assert code == 0, said
    code, said = ran([helm, "template", RELEASE, str(CHART)])
    assert code == 0, said
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in rendered(values())}
    shown = [each for each in yaml.safe_load_all(said) if each]
    assert {(each["kind"], each["metadata"]["name"]): each for each in shown} == by_name


def test_the_charts_version_is_ours() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    text = (Path(DEPLOY.parent) / "pyproject.toml").read_text("utf-8")
    assert f'version = "{chart["appVersion"]}"' in text
    assert values()["image"] == f"kentong:{chart['appVersion']}"
