"""The files of the stack fit each other, the tools that read them, and the images they run in."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.prometheus.render import thresholds
from tests.support.programs import needs
from tests.support.service import ROOT
from tests.support.sources import DEPLOY, dashboards
from tests.support.stalls import scaled

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=scaled(60)
    )


def test_prometheus_takes_its_configuration() -> None:
    promtool = needs("promtool", package="prometheus")

    checked = run(promtool, "check", "config", DEPLOY / "prometheus/prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "8 rule files found" in checked.stdout


def test_alertmanager_takes_its_configuration() -> None:
    amtool = needs("amtool", package="prometheus-alertmanager")

    checked = run(amtool, "check-config", DEPLOY / "alertmanager/alertmanager.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=critical", "alertname=TargetMissing"], "pager"),
        (["severity=warning", "alertname=HighHTTPErrorRate"], "tickets"),
        (["severity=none", "alertname=Watchdog"], "dead-mans-switch"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels: list[str], receiver: str) -> None:
    amtool = needs("amtool", package="prometheus-alertmanager")
    config = f"--config.file={DEPLOY / 'alertmanager/alertmanager.yml'}"

    routed = run(amtool, "config", "routes", "test", config, *labels)

    assert routed.stdout.strip() == receiver, routed.stderr


def test_the_job_scrapes_where_the_service_serves() -> None:
    """`/metrics`, the default, would be a 404; any other job name would leave the rules blind."""
    (job,) = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "atom-platform"]

    assert job["metrics_path"] == "/health/metrics"
    assert job["static_configs"] == [{"targets": ["service:8000"]}]


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """From it comes `$__rate_interval`; a rate over less than two scrapes is empty."""
    source = provisioned("datasources/datasources.yaml")["datasources"][0]

    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_addresses_are_services_of_the_stack() -> None:
    texts = [
        path.read_text()
        for path in (
            DEPLOY / "prometheus/prometheus.yml",
            DEPLOY / "alertmanager/alertmanager.yml",
            DEPLOY / "grafana/provisioning/datasources/datasources.yaml",
            DEPLOY / "loki/config.alloy",
        )
    ]
    hosts = {
        host
        for text in texts
        for host in re.findall(r"(?:http://|\")([a-z-]+):\d{4}", text)
        if host != "localhost"
    }

    assert hosts == {"service", "prometheus", "alertmanager", "loki", "webhook"}
    assert hosts <= set(SERVICES)


def test_data_sources_are_those_that_the_dashboards_ask_for() -> None:
    kinds = {each["type"] for each in provisioned("datasources/datasources.yaml")["datasources"]}
    asked = {
        variable["query"]
        for dashboard in dashboards().values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "datasource"
    }

    assert asked == {"prometheus", "loki"}
    assert asked <= kinds


def test_grafana_finds_the_dashboards() -> None:
    (provider,) = provisioned("dashboards/dashboards.yaml")["providers"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in SERVICES["grafana"]["volumes"])

    assert (DEPLOY / mounts[provider["options"]["path"]]).resolve() == DEPLOY / "grafana/dashboards"


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    """Docker makes a directory of what is missing, and the container starts without its file."""
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists(), volume
        elif not source.startswith("/"):
            assert source in COMPOSE["volumes"], volume


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_stay_on_this_machine(name: str) -> None:
    service = SERVICES[name]

    assert "build" in service or re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_links_in_alerts_lead_into_the_stack() -> None:
    published = {
        port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])
    }

    for url in thresholds()["urls"].values():
        assert url.rpartition(":")[2] in published


def test_the_budget_is_kept_long_enough() -> None:
    """Looking back thirty days into a store that forgets after fifteen, nothing ever burns."""
    (retention,) = [
        int(found[1])
        for argument in SERVICES["prometheus"]["command"]
        if (found := re.fullmatch(r"--storage\.tsdb\.retention\.time=(\d+)d", argument))
    ]

    assert retention > int(thresholds()["slo"]["period"].removesuffix("d"))


def test_the_service_in_the_stack_has_the_settings_it_knows() -> None:
    source = (ROOT / "atom_platform/settings.py").read_text()

    for setting in SERVICES["service"]["environment"]:
        assert f'"{setting}"' in source


def provisioned(path: str) -> Any:
    return yaml.safe_load((DEPLOY / "grafana/provisioning" / path).read_text())
