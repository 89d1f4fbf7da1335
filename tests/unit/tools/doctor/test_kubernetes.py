"""Kubernetes manifests are compared with the timings of the service that they start."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from atom_platform.tools.doctor.findings import Finding
from atom_platform.tools.doctor.manifests import check_files
from tests.support.doctor_parts import codes, one

GOOD = yaml.safe_load("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: atom-platform}
spec:
  replicas: 3
  template:
    metadata:
      annotations: {prometheus.io/scrape: "true", prometheus.io/path: /health/metrics}
    spec:
      terminationGracePeriodSeconds: 60
      securityContext: {runAsNonRoot: true}
      volumes:
      - {name: metrics, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
      containers:
      - name: atom-platform
        image: registry.example:5000/atom-platform:1.2.3
        ports: [{containerPort: 8000, name: http}]
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}
        env:
        - {name: ATOM_DRAIN_SECONDS, value: "10"}
        - {name: PROMETHEUS_MULTIPROC_DIR, value: /metrics}
        - {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: atom, key: url}}}
        volumeMounts: [{name: metrics, mountPath: /metrics}]
        resources: {requests: {cpu: 500m, memory: 512Mi}, limits: {memory: 1Gi}}
        startupProbe:
          {httpGet: {path: /health/startup, port: http}, periodSeconds: 2, failureThreshold: 30}
        livenessProbe:
          {httpGet: {path: /health/live, port: http}, periodSeconds: 10, timeoutSeconds: 5}
        readinessProbe:
          {httpGet: {path: /health/ready, port: 8000}, periodSeconds: 5, timeoutSeconds: 2}
""")

#: The guide's own manifest.
GUIDE = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: atom-platform
spec:
  replicas: 3
  selector:
    matchLabels:
      app: atom-platform
  template:
    metadata:
      labels:
        app: atom-platform
    spec:
      containers:
      - name: atom-platform
        image: atom-platform:latest
        ports:
        - containerPort: 8000
          name: http
        env:
        - name: DATABASE_URL
          valueFrom:
            secretKeyRef:
              name: atom-secrets
              key: database-url
        livenessProbe:
          httpGet:
            path: /health/live
            port: 8000
          initialDelaySeconds: 30
          periodSeconds: 10
          timeoutSeconds: 5
          failureThreshold: 3
        readinessProbe:
          httpGet:
            path: /health/ready
            port: 8000
          initialDelaySeconds: 10
          periodSeconds: 5
          timeoutSeconds: 5
          failureThreshold: 3
        resources:
          requests:
            memory: "512Mi"
            cpu: "500m"
          limits:
            memory: "1Gi"
            cpu: "1000m"
"""


@pytest.fixture(name="lint")
def _lint(tmp_path: Path) -> Any:
    def lint(*objects: Any) -> list[Finding]:
        path = tmp_path / "manifest.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        return list(check_files([path]))

    return lint


def changed(*path: str | int, to: Any = None) -> dict[str, Any]:
    """Return the good Deployment with one thing changed; None takes it out."""
    manifest: dict[str, Any] = copy.deepcopy(GOOD)
    at: Any = manifest["spec"]["template"]["spec"]
    *way, last = path
    for key in way:
        at = at[key]
    if to is None:
        del at[last]
    else:
        at[last] = to
    return manifest


C = ("containers", 0)


def test_a_good_deployment_has_no_findings(lint: Any) -> None:
    (finding,) = lint(GOOD)

    assert (finding.severity, finding.code) == ("ok", "all-well")
    assert finding.area.endswith(": Deployment/atom-platform container atom-platform")


def test_the_guides_own_deployment(tmp_path: Path) -> None:
    path = tmp_path / "guide.yaml"
    path.write_text(GUIDE)

    findings = list(check_files([path]))

    assert codes(findings, "error") == {"grace-short", "drain-missing"}
    assert codes(findings, "warning") == {
        "metrics-volume-missing",
        "readiness-timeout-long",
    }


def env(**values: str) -> list[dict[str, Any]]:
    """Return the variables of the good Deployment, overridden by *values*."""
    good = GOOD["spec"]["template"]["spec"]["containers"][0]["env"]
    kept = [each for each in good if each["name"] not in values]
    return [*kept, *({"name": name, "value": value} for name, value in values.items())]


@pytest.mark.parametrize(
    ("manifest", "severity", "code"),
    [
        (
            changed(*C, "livenessProbe", "httpGet", "path", to="/health/ready?exclude=disk"),
            "error",
            "liveness-asks-dependencies",
        ),
        (
            changed(*C, "livenessProbe", "httpGet", "path", to="/health/startup/"),
            "error",
            "liveness-asks-dependencies",
        ),
        (
            changed(*C, "readinessProbe", "httpGet", "path", to="/health/live"),
            "error",
            "readiness-asks-nothing",
        ),
        (
            changed(*C, "startupProbe", "httpGet", "path", to="/health/ready"),
            "error",
            "startup-asks-dependencies",
        ),
        (
            changed(*C, "readinessProbe", "timeoutSeconds", to=5),
            "warning",
            "readiness-timeout-long",
        ),
        (changed(*C, "readinessProbe", "periodSeconds", to=61), "warning", "readiness-period-long"),
        (changed(*C, "readinessProbe", "failureThreshold", to=12), "warning", "readiness-slow"),
        (changed(*C, "livenessProbe", "httpGet", "port", to=8080), "error", "probe-port"),
        (changed(*C, "livenessProbe", "httpGet", "port", to="web"), "error", "probe-port"),
        (changed("terminationGracePeriodSeconds", to=40), "error", "grace-short"),
        (changed("terminationGracePeriodSeconds"), "error", "grace-short"),
        (changed(*C, "volumeMounts"), "warning", "metrics-volume-missing"),
        (
            changed("volumes", 0, to={"name": "metrics", "emptyDir": {}}),
            "warning",
            "metrics-volume-on-disk",
        ),
        (
            changed("volumes", 0, to={"name": "metrics", "emptyDir": {"medium": "Memory"}}),
            "note",
            "metrics-volume-unbounded",
        ),
        (
            changed(
                "volumes",
                0,
                to={"name": "metrics", "persistentVolumeClaim": {"claimName": "shared"}},
            ),
            "error",
            "metrics-volume-shared",
        ),
        (changed(*C, "env", to=env(ATOM_THREADS="many")), "error", "setting-invalid"),
        (
            changed(*C, "env", to=env(DATABASE_URL="postgresql://a:hunter22@db/a")),
            "error",
            "secret-in-plain-text",
        ),
        (
            changed(*C, "env", to=env(ATOM_METRICS_TOKEN="0123456789abcdef")),
            "error",
            "secret-in-plain-text",
        ),
    ],
)
def test_one_error_is_one_finding(lint: Any, manifest: Any, severity: str, code: str) -> None:
    """There is no other finding: operators ignore a tool that reports too much."""
    findings = lint(manifest)

    assert codes(findings) == {code}
    assert one(findings, code).severity == severity


@pytest.mark.parametrize(
    ("hook", "grace", "drain", "good"),
    [
        pytest.param({"sleep": {"seconds": 10}}, 55, "10", True, id="hook-and-drain-add-up"),
        pytest.param({"sleep": {"seconds": 20}}, 55, "10", False, id="and-must-fit"),
        pytest.param({"exec": {"command": ["sleep", "10"]}}, 41, "0", True, id="a-hook-is-enough"),
        pytest.param(
            {"exec": {"command": ["sh", "-c", "sleep 10"]}}, 40, "0", False, id="just-not"
        ),
        pytest.param(
            {"exec": {"command": ["sh", "-c", "python -m atom_platform probe drain; sleep 10"]}},
            41,
            "10",
            True,
            id="draining-in-the-hook-counts-once",
        ),
    ],
)
def test_the_grace_period_covers_hook_drain_and_graceful_timeout(
    lint: Any, hook: Any, grace: int, drain: str, good: bool
) -> None:
    manifest = changed(*C, "env", to=env(ATOM_DRAIN_SECONDS=drain))
    pod = manifest["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = grace
    pod["containers"][0]["lifecycle"] = {"preStop": hook}

    assert codes(lint(manifest)) == (set() if good else {"grace-short"})


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param({"args": ["gunicorn", "--graceful-timeout", "90"]}, id="argument"),
        pytest.param({"env": env(GUNICORN_CMD_ARGS="--graceful-timeout=90")}, id="variable"),
    ],
)
def test_gunicorns_own_flags_count(lint: Any, flags: Any) -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"]["template"]["spec"]["containers"][0].update(flags)

    assert "graceful_timeout 90" in one(lint(manifest), "grace-short").what


def test_a_missing_drain_is_an_error(lint: Any) -> None:
    manifest = changed(*C, "env", to=env(ATOM_DRAIN_SECONDS="0"))

    assert codes(lint(manifest)) == {"drain-missing"}


def test_the_port_follows_the_setting(lint: Any) -> None:
    manifest = changed(*C, "env", to=env(PORT="9000"))

    assert codes(lint(manifest)) == {"probe-port"}


def test_probes_may_ask_the_management_port(lint: Any) -> None:
    manifest = changed(*C, "env", to=env(ATOM_MANAGEMENT_PORT="9100"))

    assert codes(lint(manifest)) == set()
    assert codes(lint(changed(*C, "livenessProbe", "httpGet", "port", to=9100))) == {"probe-port"}


def test_a_mounted_token_file_is_not_read(lint: Any) -> None:
    mounted = changed(*C, "env", to=env(ATOM_METRICS_TOKEN_FILE="/run/secrets/token"))
    written = changed(*C, "env", to=env(ATOM_METRICS_TOKEN_FILE="0123456789abcdef"))

    assert codes(lint(mounted)) == set()
    assert "secret-in-plain-text" in codes(lint(written))


def test_the_port_follows_gunicorns_flag(lint: Any) -> None:
    manifest = changed(*C, "args", to=["gunicorn", "--bind", "0.0.0.0:9000", "wsgi:app"])

    assert codes(lint(manifest)) == {"probe-port"}


def test_a_startup_probe_may_time_out_late(lint: Any) -> None:
    """It ends with the first answer, so that a late one delays nothing."""
    assert codes(lint(changed(*C, "startupProbe", "timeoutSeconds", to=5))) == set()


def test_the_innermost_volume_counts(lint: Any) -> None:
    manifest = copy.deepcopy(GOOD)
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
    mounts = pod["containers"][0]["volumeMounts"]
    mounts.append({"name": "data", "mountPath": "/"})

    assert codes(lint(manifest)) == set()
    mounts.pop(0)
    assert codes(lint(manifest)) == {"metrics-volume-shared"}


@pytest.mark.parametrize("value", ["$(URL)", "${URL}", "{{ .Values.url }}", "<the URL>", ""])
def test_a_placeholder_is_no_secret(lint: Any, value: str) -> None:
    findings = lint(changed(*C, "env", to=env(ATOM_METRICS_TOKEN=value)))

    assert codes(findings) == set()


def test_a_variable_wins_over_the_config_map(lint: Any) -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [
        {"configMapRef": {"name": "atom"}}
    ]
    settings = {
        "kind": "ConfigMap",
        "metadata": {"name": "atom"},
        "data": {"DATABASE_URL": "sqlite:///var/atom.db"},
    }

    assert codes(lint(settings, manifest)) == set()


def test_a_probe_command_needs_more_time(lint: Any) -> None:
    probe = {"exec": {"command": ["python", "-m", "atom_platform", "probe", "live"]}}

    findings = lint(changed(*C, "livenessProbe", to=probe))

    assert codes(findings) == {"liveness-timeout-short"}


def test_sqlite_works_for_one_replica_with_a_volume(lint: Any) -> None:
    manifest = changed(*C, "env", 2)

    assert codes(lint(manifest)) == {"sqlite-replicated", "root-read-only"}

    manifest["spec"]["replicas"] = 1
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
    pod["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/app/var"})
    assert codes(lint(manifest)) == set()


def test_config_maps_are_read_with_the_rest(lint: Any) -> None:
    manifest = changed(*C, "env", 0)
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [
        {"configMapRef": {"name": "atom"}}
    ]
    settings = {
        "kind": "ConfigMap",
        "metadata": {"name": "atom"},
        "data": {"ATOM_DRAIN_SECONDS": "10"},
    }

    assert codes(lint(manifest)) == {"drain-missing"}
    assert codes(lint(settings, manifest)) == set()
    settings["data"]["DATABASE_URL"] = "postgresql://a:hunter22@db/a"  # type: ignore[index]
    assert codes(lint(settings, manifest)) == {"secret-in-plain-text"}


def test_a_whole_secret_may_hold_the_database_url(lint: Any) -> None:
    manifest = changed(*C, "env", 2)
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [
        {"secretRef": {"name": "atom"}}
    ]

    assert codes(lint(manifest)) == set()


def test_other_containers_are_ignored(lint: Any) -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "envoy"})
    other = {
        "kind": "Deployment",
        "metadata": {"name": "postgres"},
        "spec": {"template": {"spec": {"containers": [{"name": "postgres", "image": "postgres"}]}}},
    }

    assert codes(lint(manifest)) == set()
    assert codes(lint(other)) == {"object-foreign"}


def test_jobs_are_neither_probed_nor_drained(lint: Any) -> None:
    container: dict[str, Any] = {"name": "migrate", "image": "atom-platform:1.2"}
    job = {
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }

    assert codes(lint(job)) == set()
    container["env"] = [{"name": "ATOM_THREADS", "value": "many"}]
    assert codes(lint(job)) == {"setting-invalid"}


def test_a_patch_is_not_examined(lint: Any) -> None:
    patch = {
        "kind": "Deployment",
        "metadata": {"name": "atom-platform"},
        "spec": {"template": {"spec": {"containers": [{"name": "atom-platform", "env": []}]}}},
    }

    assert codes(lint(patch)) == {"object-partial"}


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_a_wrong_scrape_path_is_an_error(lint: Any, kind: str) -> None:
    key = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    monitor: Any = {"kind": kind, "metadata": {"name": "atom"}, "spec": {key: [{"port": "http"}]}}
    manifest = copy.deepcopy(GOOD)
    del manifest["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]

    assert codes(lint(monitor)) == {"scrape-path"}
    assert codes(lint(manifest)) == {"scrape-path"}
    monitor["spec"][key][0]["path"] = "/health/metrics"
    assert codes(lint(monitor)) == set()


ODD = [None, 0, "", "text", [], [1], {}, {"x": None}, True]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_unexpected_shapes_read_as_absent(lint: Any, odd: Any) -> None:
    """A half-written file is no traceback."""
    pod_keys = list(GOOD["spec"]["template"]["spec"])
    container_keys = list(GOOD["spec"]["template"]["spec"]["containers"][0])
    manifests = [{**GOOD, key: odd} for key in ("spec", "metadata")]
    for path in [(key,) for key in pod_keys] + [(*C, key) for key in container_keys]:
        manifest = copy.deepcopy(GOOD)
        at: Any = manifest["spec"]["template"]["spec"]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = odd
        manifests.append(manifest)

    for manifest in manifests:
        for finding in lint(manifest):
            assert finding.what
