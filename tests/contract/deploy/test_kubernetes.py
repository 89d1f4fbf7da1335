"""The manifests hold the guide's figures, and what Kubernetes needs that the guide left out."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from atom_platform.settings import Settings
from tests.support.manifests import Objects, rendered, settings_of, written

GUNICORN_GRACEFUL_SECONDS = 30
POSTGRESQL_MAX_CONNECTIONS = 100  # its default
DRAIN = ["python", "-m", "atom_platform", "probe", "drain"]


@pytest.fixture(name="deployment")
def _deployment() -> Any:
    return written("base/deployment.yaml").one("Deployment")


@pytest.fixture(name="pod")
def _pod(deployment: Any) -> Any:
    return deployment["spec"]["template"]["spec"]


@pytest.fixture(name="container")
def _container(pod: Any) -> Any:
    (container,) = pod["containers"]
    return container


@pytest.fixture(name="production")
def _production() -> Objects:
    return rendered("overlays/production")


def variables() -> set[str]:
    return {each.metadata["variable"] for each in fields(Settings)}


def test_the_guides_deployment_is_in_it(deployment: Any, container: Any) -> None:
    assert deployment["metadata"]["name"] == "atom-platform"
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "atom-platform"}}
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "1000m", "memory": "1Gi"},
    }
    assert {
        "name": "DATABASE_URL",
        "valueFrom": {"secretKeyRef": {"name": "atom-secrets", "key": "database-url"}},
    } in container["env"]


@pytest.mark.parametrize(
    ("probe", "path", "delay", "period", "failures"),
    [
        ("livenessProbe", "/health/live", 30, 10, 3),
        ("readinessProbe", "/health/ready", 10, 5, 3),
        ("startupProbe", "/health/startup", None, 2, 150),
    ],
)
def test_probes_are_the_guides(
    container: Any, probe: str, path: str, delay: int | None, period: int, failures: int
) -> None:
    asked = container[probe]

    assert asked["httpGet"] == {"path": path, "port": "http"}
    assert asked.get("initialDelaySeconds") == delay
    assert asked["periodSeconds"] == period
    assert asked["failureThreshold"] == failures


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_probes_wait_longer_than_an_answer_takes(container: Any, probe: str) -> None:
    """The service answers within 0.5 s; a throttled CPU may make that three times as long."""
    assert 1.5 <= container[probe]["timeoutSeconds"] <= container[probe]["periodSeconds"]


def test_the_kubelet_waits_for_drain_and_graceful_stop(pod: Any, container: Any) -> None:
    drain = float(next(e["value"] for e in container["env"] if e["name"] == "ATOM_DRAIN_SECONDS"))

    assert drain == 10
    assert container["lifecycle"]["preStop"]["exec"]["command"] == DRAIN
    assert pod["terminationGracePeriodSeconds"] >= drain + GUNICORN_GRACEFUL_SECONDS + 10


def test_readiness_turns_within_the_drain(container: Any) -> None:
    """Balancers that ask readiness must have asked once more before the listener closes."""
    assert container["readinessProbe"]["periodSeconds"] < 10


@pytest.mark.parametrize(
    ("file", "kind", "name"),
    [
        ("base/deployment.yaml", "Deployment", "atom-platform"),
        ("base/migrate-job.yaml", "Job", "atom-platform-migrate"),
    ],
)
def test_workloads_meet_the_restricted_standard(file: str, kind: str, name: str) -> None:
    pod = written(file).one(kind, name)["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_every_writable_place_is_bounded_memory(pod: Any, container: Any) -> None:
    volumes = {each["name"]: each["emptyDir"] for each in pod["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}

    assert set(mounts) == set(volumes)
    assert all(volume["medium"] == "Memory" and volume["sizeLimit"] for volume in volumes.values())
    assert mounts["metrics"] in [
        each.get("value") for each in container["env"] if each["name"] == "PROMETHEUS_MULTIPROC_DIR"
    ]


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_every_setting_is_one_that_the_service_takes(overlay: str) -> None:
    settings = settings_of(rendered(f"overlays/{overlay}"))

    assert set(settings) <= variables()
    Settings.from_environ(settings)


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_only_the_services_own_pods_are_selected(overlay: str) -> None:
    """A Job's pod behind the Service would get requests, one under the budget would block it."""
    objects = rendered(f"overlays/{overlay}")
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in objects.all
        if each["kind"] in {"Deployment", "Job"}
    }
    selectors = [
        objects.one("Service")["spec"]["selector"],
        objects.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        objects.one("Deployment")["spec"]["selector"]["matchLabels"],
        objects.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    for selector in selectors:
        selected = {name for name, given in labels.items() if selector.items() <= given.items()}
        assert selected == {"atom-platform"}


def test_the_way_out_is_closed_for_job_and_service(production: Objects) -> None:
    """No destination without a port, and no port but DNS and PostgreSQL."""
    policy = production.one("NetworkPolicy", "atom-platform-outward")["spec"]
    selector = policy["podSelector"]["matchLabels"].items()

    for kind, name in [("Deployment", "atom-platform"), ("Job", "atom-platform-migrate")]:
        labels = production.one(kind, name)["spec"]["template"]["metadata"]["labels"]
        assert selector <= labels.items()
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 5432, 6432}


def test_who_comes_in_is_named(production: Objects) -> None:
    rules = production.one("NetworkPolicy")["spec"]["ingress"]

    assert all(rule["from"] and rule["ports"] == [{"port": "http"}] for rule in rules)
    assert any(
        peer.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/name": "prometheus"}
        for rule in rules
        for peer in rule["from"]
    )


def test_the_world_sees_the_api_and_nothing_else(production: Objects) -> None:
    (rule,) = production.one("Ingress")["spec"]["rules"]

    assert [path["path"] for path in rule["http"]["paths"]] == ["/api"]


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_images_say_which(overlay: str) -> None:
    for each in rendered(f"overlays/{overlay}").all:
        for container in (
            each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        ):
            assert re.search(r":(?!latest$)[\w.-]+$|@sha256:", container["image"])


def test_the_autoscaler_owns_the_number_of_replicas(production: Objects) -> None:
    autoscaler = production.one("HorizontalPodAutoscaler")["spec"]

    assert "replicas" not in production.one("Deployment")["spec"]
    assert autoscaler["minReplicas"] == 3
    assert autoscaler["scaleTargetRef"]["name"] == "atom-platform"


def test_the_most_replicas_fit_the_database(production: Objects) -> None:
    """A rollout adds maxSurge; each worker keeps one connection beside its pool for readiness."""
    settings = Settings.from_environ(settings_of(production))
    most = production.one("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    surge = production.one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]

    connections = (most + surge) * settings.workers * (settings.database_pool_size + 1)

    assert connections <= POSTGRESQL_MAX_CONNECTIONS - 3  # reserved for its superuser


def test_running_agents_can_be_scaled_by(production: Objects) -> None:
    """The component patches what the overlay has: three quarters of a pod's threads."""
    patches = written("components/agents-autoscaling/kustomization.yaml").one_document()
    settings = Settings.from_environ(settings_of(production))

    (patch,) = patches["patches"]
    assert patch["target"] == {"kind": "HorizontalPodAutoscaler", "name": "atom-platform"}
    target = re.search(r'averageValue: "(\d+)"', patch["patch"])
    assert target is not None
    assert int(target[1]) == settings.workers * settings.threads * 0.75


def test_prometheus_asks_pods_under_the_rules_job_name(production: Objects) -> None:
    monitor = production.one("PodMonitor")["spec"]
    labels = production.one("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert labels[monitor["jobLabel"]] == "atom-platform"
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/health/metrics")


def test_no_secret_is_in_production(production: Objects) -> None:
    assert not [each for each in production.all if each["kind"] == "Secret"]


def test_the_service_stays_below_the_sample_limit(production: Objects) -> None:
    """Past the limit Prometheus drops the scrape whole: the worst case must fit, with room."""
    settings = Settings.from_environ(settings_of(production))
    series_of_an_agent = 18

    worst = settings.workers * settings.metrics_max_ids * series_of_an_agent

    assert worst * 1.2 < production.one("PodMonitor")["spec"]["sampleLimit"]
