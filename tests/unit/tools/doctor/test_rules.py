"""Every rule about manifests is used, and its advice can be filled in."""

from __future__ import annotations

import re
from pathlib import Path

from atom_platform.tools import doctor
from atom_platform.tools.doctor.rules import RULES

SOURCES = Path(doctor.__file__).parent


def test_every_rule_is_used_and_every_code_is_a_rule() -> None:
    used: set[str] = set()
    for path in SOURCES.glob("*.py"):
        if path.name in ("container.py", "ecs.py", "kubernetes.py", "manifests.py"):
            used |= set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', path.read_text()))

    assert used - {"all-well"} == RULES.keys()
