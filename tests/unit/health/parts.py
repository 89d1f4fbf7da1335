"""Small real checks that tests can block, break and count."""

from __future__ import annotations

import threading

from atom_platform.health.check import CheckResult

__all__ = ["Changing", "Hanging", "health_threads"]


class Hanging:
    """A check that blocks while it is held, and counts its runs and those inside at once."""

    def __init__(self, *, held: bool = True) -> None:
        self.entered = 0
        self.inside = 0
        self.most_inside = 0
        self.cancels = 0
        self._held = held
        self._changed = threading.Condition()

    def __call__(self) -> CheckResult:
        with self._changed:
            self.entered += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            # A cancel counts from here on: whoever sees `entered` may break this run.
            cancels = self.cancels
            self._changed.wait_for(lambda: not self._held or self.cancels > cancels, 60)
            self.inside -= 1
        return CheckResult(healthy=True, message="Dependency answers")

    def hold(self) -> None:
        """Block from the next run on."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Let the blocked run and all later ones return."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def cancel(self) -> None:
        """Break the run in flight, as closing its connection does; later ones block again."""
        with self._changed:
            self.cancels += 1
            self._changed.notify_all()


class Changing:
    """A check that returns the given result at once, and counts its runs."""

    def __init__(self, result: CheckResult | BaseException | None = None) -> None:
        self.result = result or CheckResult(healthy=True, message="Dependency answers")
        self.runs = 0

    def __call__(self) -> CheckResult:
        self.runs += 1
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def fail(self, error: BaseException | None = None) -> None:
        self.result = error or CheckResult(healthy=False, message="Dependency broken")

    def recover(self) -> None:
        self.result = CheckResult(healthy=True, message="Dependency answers")


def health_threads() -> list[str]:
    """Return the names of the prober's threads that live now."""
    return sorted(
        thread.name for thread in threading.enumerate() if thread.name.startswith("health-")
    )
