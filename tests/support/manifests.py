"""The Kubernetes objects, as kustomize makes them and as they are written."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import needs
from tests.support.service import ROOT
from tests.support.stalls import scaled

__all__ = ["KUBERNETES", "Objects", "rendered", "rendered_with", "settings_of", "written"]

KUBERNETES = ROOT / "deploy" / "kubernetes"


class Objects:
    """Kubernetes objects that can be asked for by kind and name."""

    def __init__(self, text: str) -> None:
        self.all: list[dict[str, Any]] = [each for each in yaml.safe_load_all(text) if each]

    def one_document(self) -> Any:
        """Return the only document, whatever it is."""
        (document,) = self.all
        return document

    def one(self, kind: str, name: str = "atom-platform") -> Any:
        """Return the only object of that kind and name."""
        (found,) = [
            each for each in self.all if each["kind"] == kind and each["metadata"]["name"] == name
        ]
        return found

    def container(self, kind: str = "Deployment", name: str = "atom-platform") -> Any:
        """Return the only container of that workload."""
        (container,) = self.one(kind, name)["spec"]["template"]["spec"]["containers"]
        return container


def written(path: str) -> Objects:
    """Return the objects of one file under deploy/kubernetes."""
    return Objects((KUBERNETES / path).read_text())


@functools.cache
def rendered(folder: str) -> Objects:
    """Build the kustomization in *folder*, with the kustomize that ships with kubectl."""
    return Objects(_build(KUBERNETES / folder))


@functools.cache
def rendered_with(folder: str, *components: str) -> Objects:
    """Build the kustomization in *folder* with further components, as a site would."""
    with tempfile.TemporaryDirectory() as site:
        here = os.path.relpath(KUBERNETES, Path(site).resolve())  # an absolute path is refused
        kustomization = {
            "resources": [f"{here}/{folder}"],
            "components": [f"{here}/components/{name}" for name in components],
        }
        (Path(site) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return Objects(_build(Path(site)))


def _build(folder: Path) -> str:
    kubectl = needs("kubectl", package="kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return built.stdout


def settings_of(objects: Objects) -> dict[str, str]:
    """Return the environment that the service's container gets, without its secrets."""
    container = objects.container()
    (source,) = container["envFrom"]
    settings = dict(objects.one("ConfigMap", source["configMapRef"]["name"])["data"])
    settings |= {each["name"]: each["value"] for each in container["env"] if "value" in each}
    return settings
