"""Metrics of the application's own, as `Monitoring` offers them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from atom_platform.metrics.custom import Counter, Gauge, Histogram, shared
from atom_platform.metrics.definitions import HTTP_REQUEST_DURATION, Definition, GaugeMode

__all__ = ["counter", "gauge", "histogram", "requests_by"]

Values = Mapping[str, Collection[str]]


def counter(
    name: str, help: str, *, labels: Sequence[str] = (), values: Values | None = None
) -> Counter:
    """
    Return a counter, exact whatever becomes of the processes that count.

    Args:
        name: Ends in `_total`.
        labels: Their names. A label without *values* takes any text, but at most
            ATOM_METRICS_MAX_IDS different ones a process; more count as `other`.
        values: What a label may say; anything else counts as `other`.

    Raises:
        ValueError: The name or a label cannot be had.
    """
    return shared(Counter, Definition(name, "counter", help, tuple(labels), values=_all(values)))


def gauge(
    name: str,
    help: str,
    *,
    mode: GaugeMode,
    labels: Sequence[str] = (),
    values: Values | None = None,
) -> Gauge:
    """
    Return a gauge; *labels* and *values* are those of `counter`.

    Args:
        mode: How the processes' numbers become one: `livesum`, `livemin`, `livemax` or
            `livemostrecent`. A process that is gone has no say.

    Raises:
        ValueError: The name or a label cannot be had.
    """
    return shared(
        Gauge, Definition(name, "gauge", help, tuple(labels), mode=mode, values=_all(values))
    )


def histogram(
    name: str,
    help: str,
    *,
    labels: Sequence[str] = (),
    values: Values | None = None,
    buckets: Sequence[float] = HTTP_REQUEST_DURATION.buckets,
) -> Histogram:
    """
    Return a histogram; *labels* and *values* are those of `counter`.

    Args:
        buckets: Upper bounds, growing, without infinity; made for requests by default. Each is a
            series for each label set.

    Raises:
        ValueError: The name, a label or the buckets cannot be had.
    """
    bounds = tuple(float(bound) for bound in buckets)
    definition = Definition(
        name, "histogram", help, tuple(labels), buckets=bounds, values=_all(values)
    )
    return shared(Histogram, definition)


def requests_by(label: str, values: Collection[str]) -> Counter:
    """
    Return the counter of requests by an extra *label*.

    A family of its own, because dashboards and alerts of `http_requests_total` know its labels; and
    one for each label, because labels of one family multiply.

    Raises:
        ValueError: The label cannot be had.
    """
    return counter(
        f"http_requests_by_{label}_total",
        f"HTTP requests answered, by {label}, matched URL rule and status code.",
        labels=(label, "endpoint", "status"),
        values={label: values},
    )


def _all(values: Values | None) -> dict[str, tuple[str, ...]]:
    return {label: tuple(known) for label, known in (values or {}).items()}
