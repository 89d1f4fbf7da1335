"""Who may read metrics: what the manifests and the documents say is what the service takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from atom_platform.cli import main
from atom_platform.settings import Settings
from tests.contract.deploy.tools import check
from tests.support.manifests import Objects, rendered, rendered_with, settings_of
from tests.support.programs import needs
from tests.support.service import ROOT
from tests.support.stalls import scaled

DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
MANAGEMENT_PORT = 9100


@pytest.fixture(name="apart")
def _apart() -> Objects:
    return rendered_with("overlays/production", "management-port")


@pytest.fixture(name="guarded")
def _guarded() -> Objects:
    return rendered_with("overlays/production", "metrics-token")


def endpoint(objects: Objects) -> Any:
    (found,) = objects.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    return found


def scrape_config(name: str) -> str:
    """Return the configuration that docs/deployment.md has under *name*."""
    (found,) = re.findall(rf"```yaml\n# scrape: {name}\n(.*?)```", DOCUMENT, re.DOTALL)
    return str(found)


class TestManagementPort:
    def test_the_service_opens_what_the_pod_names(self, apart: Objects) -> None:
        ports = {each["name"]: each["containerPort"] for each in apart.container()["ports"]}

        assert Settings.from_environ(settings_of(apart)).management_port == MANAGEMENT_PORT
        assert ports == {"http": 8000, "management": MANAGEMENT_PORT}

    def test_prometheus_alone_comes_to_it_and_to_nothing_else(self, apart: Objects) -> None:
        rules = apart.one("NetworkPolicy")["spec"]["ingress"]
        ports = {
            json.dumps(peer): [port["port"] for port in rule["ports"]]
            for rule in rules
            for peer in rule["from"]
        }

        assert {tuple(each) for peer, each in ports.items() if '"prometheus"' in peer} == {
            ("management",)
        }
        assert {tuple(each) for peer, each in ports.items() if '"prometheus"' not in peer} == {
            ("http",)
        }
        assert endpoint(apart)["port"] == "management"

    def test_probes_and_requests_stay_where_they_were(self, apart: Objects) -> None:
        container = apart.container()

        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
        (port,) = apart.one("Service")["spec"]["ports"]
        assert port["targetPort"] == "http"


class TestToken:
    def test_the_service_reads_the_secret_that_prometheus_sends(self, guarded: Objects) -> None:
        pod = guarded.one("Deployment")["spec"]["template"]["spec"]
        container = guarded.container()
        (volume,) = [each for each in pod["volumes"] if "secret" in each]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
        credentials = endpoint(guarded)["authorization"]["credentials"]
        file = Path(settings_of(guarded)["ATOM_METRICS_TOKEN_FILE"])

        assert mount["readOnly"] is True
        assert file == Path(mount["mountPath"]) / credentials["key"]
        assert volume["secret"]["secretName"] == credentials["name"] == "atom-metrics-token"

    def test_its_user_may_read_the_file(self, guarded: Objects) -> None:
        pod = guarded.one("Deployment")["spec"]["template"]["spec"]
        (volume,) = [each for each in pod["volumes"] if "secret" in each]

        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
        assert volume["secret"]["defaultMode"] == 0o440

    def test_the_token_itself_is_nowhere(self, guarded: Objects) -> None:
        assert not [each for each in guarded.all if each["kind"] == "Secret"]


@pytest.mark.parametrize("component", ["management-port", "metrics-token"])
def test_a_cluster_without_the_operator_takes_them_too(component: str) -> None:
    objects = rendered_with("overlays/dev", component)

    assert "PodMonitor" not in {each["kind"] for each in objects.all}
    assert objects.container() != rendered("overlays/dev").container()


def test_the_doctor_has_nothing_to_complain_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = rendered_with("overlays/production", "management-port", "metrics-token")
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(objects.all))

    assert main(["doctor", "--json", str(file)]) == 0

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {each["severity"] for each in findings} <= {"ok", "note"}


@pytest.mark.parametrize("name", ["token", "management port"])
def test_prometheus_takes_what_the_document_shows(name: str, tmp_path: Path) -> None:
    text = scrape_config(name)
    (tmp_path / "token").touch()
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/atom-metrics-token", str(tmp_path / "token")))

    promtool = needs("promtool", package="prometheus")
    checked = subprocess.run(
        [promtool, "check", "config", file],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("atom-platform", "/health/metrics")


@pytest.mark.parametrize(
    ("name", "port", "key"),
    [("collector-token", 8000, "ATOM_METRICS_TOKEN"), ("collector-management-port", 9100, None)],
)
def test_the_collector_asks_where_the_service_answers(
    name: str, port: int, key: str | None
) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "ecs" / "adot-collector.yaml").read_text())
    (job,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]

    job |= yaml.safe_load(scrape_config(name))

    assert job["static_configs"][0]["targets"] == [f"localhost:{port}"]
    if key:
        assert job["authorization"] == {"type": "Bearer", "credentials": f"${{env:{key}}}"}


def test_ecs_takes_what_the_document_adds() -> None:
    """To the service both lists, to the collector the secret."""
    (fragment,) = re.findall(r"```json\n(\{.*?)```", DOCUMENT, re.DOTALL)
    added = json.loads(fragment)
    task = json.loads((ROOT / "deploy" / "ecs" / "task-definition.json").read_text())
    (container,) = task["containerDefinitions"]
    collector = json.loads((ROOT / "deploy" / "ecs" / "adot-sidecar.json").read_text())
    for name, each in added.items():
        container[name] += each
    collector["secrets"] += added["secrets"]
    task["containerDefinitions"].append(collector)

    checked = check("ecs.py", given=json.dumps({"task": task}))

    assert checked.returncode == 0, checked.stderr
    variables = {each["name"]: each["value"] for each in container["environment"]}
    assert Settings.from_environ(variables).management_port == MANAGEMENT_PORT
    assert [each["name"] for each in added["secrets"]] == ["ATOM_METRICS_TOKEN"]
