"""An API server would take the objects: strictly checked against its schemas, old and new."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.contract.deploy.tools import check
from tests.support.manifests import rendered, rendered_with, written

#: The oldest that the manifests are written for, and the newest that there is.
VERSIONS = ("1.29", "1.37")

#: What somebody may get wrong: in which object, what is written, and what is meant to be found.
FAULTS = {
    "a key misspelt": ("Deployment", "topologyKey", "topologykey"),
    "a key of the operator's misspelt": ("PodMonitor", "scrapeTimeout", "timeout"),
    "a duration that nobody parses": ("PrometheusRule", "for: 5m", "for: 5 minutes"),
    "a kind that nobody has": ("PodMonitor", "kind: PodMonitor", "kind: PodMonitors"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The faults of every object that was asked about, by the name of its group."""

    groups: dict[str, list[list[str]]]

    def faults(self, group: str) -> list[str]:
        assert self.groups[group]
        return [fault for faults in self.groups[group] for fault in faults]


def with_agents_component() -> Any:
    """Return the production autoscaler as the component patches it."""
    autoscaler = rendered("overlays/production").one("HorizontalPodAutoscaler")
    (patch,) = written("components/agents-autoscaling/kustomization.yaml").one_document()["patches"]
    (operation,) = yaml.safe_load(patch["patch"])
    metrics = [*autoscaler["spec"]["metrics"], operation["value"]]
    return {**autoscaler, "spec": {**autoscaler["spec"], "metrics": metrics}}


def faulty(kind: str, before: str, after: str) -> Any:
    text = yaml.safe_dump(rendered("overlays/production").one(kind))
    assert before in text
    return yaml.safe_load(text.replace(before, after))


@pytest.fixture(name="verdict", scope="module")
def _verdict() -> Verdict:
    """One run for all of them: loading the schemas takes longer than asking them."""
    groups: dict[str, list[Any]] = {
        "dev": rendered("overlays/dev").all,
        "production": rendered("overlays/production").all,
        "agents component": [with_agents_component()],
        "access components": [
            rendered_with("overlays/production", "management-port", "metrics-token").one(kind)
            for kind in ("Deployment", "NetworkPolicy", "PodMonitor")
        ],
        **{name: [faulty(*fault)] for name, fault in FAULTS.items()},
    }
    everything = [item for group in groups.values() for item in group]
    checked = check("objects.py", *VERSIONS, given=yaml.safe_dump_all(everything))
    assert checked.returncode == 0, checked.stderr
    answers = iter(json.loads(checked.stdout))
    return Verdict({name: [next(answers) for _ in group] for name, group in groups.items()})


@pytest.mark.parametrize("group", ["dev", "production", "agents component", "access components"])
def test_an_api_server_would_take_every_object(verdict: Verdict, group: str) -> None:
    assert verdict.faults(group) == []


@pytest.mark.parametrize("name", FAULTS)
def test_the_check_finds_faults(verdict: Verdict, name: str) -> None:
    assert verdict.faults(name)
