"""What a step's templates can name of the steps before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["EarlierStep", "EarlierSteps"]


class EarlierStep:
    """
    A step that succeeded: `steps[0].output` and `steps[0].skill`.

    It stands for its output as well: `{{ steps[0] }}` prints that, `steps[0].status` looks into it.
    """

    __slots__ = ("output", "skill")

    def __init__(self, skill: str, output: Any) -> None:
        self.skill = skill
        self.output = output

    def __getitem__(self, key: Any) -> Any:
        return self.output[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.output)

    def __str__(self) -> str:
        if isinstance(self.output, str):
            return self.output
        return json.dumps(self.output, ensure_ascii=False)


class EarlierSteps(list[EarlierStep]):
    """The steps so far, by position or by skill: `steps["http-request"]` is its latest."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for step in reversed(self):
            if step.skill == key:
                return step
        raise KeyError(key)
