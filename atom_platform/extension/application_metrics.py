"""Counters, gauges and histograms of the application: `Monitoring.counter` and its siblings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from atom_platform.metrics.catalog import HTTP_REQUEST_DURATION, Definition, GaugeMode
from atom_platform.metrics.custom import Counter, Gauge, Histogram, get_or_create

__all__ = ["counter", "gauge", "histogram", "requests_by"]

Values = Mapping[str, Collection[str]]


def counter(
    name: str, help: str, *, labels: Sequence[str] = (), values: Values | None = None
) -> Counter:
    """
    Return a counter that is exact over all worker processes.

    Args:
        name: Ends in `_total`.
        labels: Their names. A label without *values* takes any text, but at most
            ATOM_METRICS_MAX_IDS different ones a process; more count as `other`.
        values: By label, its allowed values; any other value counts as `other`.

    Raises:
        ValueError: The name or a label is invalid or taken.
    """
    return get_or_create(
        Counter, Definition(name, "counter", help, tuple(labels), values=_all(values))
    )


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
        mode: How the values of the live processes are combined: `livesum`, `livemin`, `livemax`
            or `livemostrecent`.

    Raises:
        ValueError: The name or a label is invalid or taken.
    """
    return get_or_create(
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
        ValueError: The name, a label or the buckets are invalid or taken.
    """
    bounds = tuple(float(bound) for bound in buckets)
    definition = Definition(
        name, "histogram", help, tuple(labels), buckets=bounds, values=_all(values)
    )
    return get_or_create(Histogram, definition)


def requests_by(label: str, values: Collection[str]) -> Counter:
    """
    Return the counter of requests by an extra *label*.

    A family of its own, because dashboards and alerts of `http_requests_total` know its labels; and
    one for each label, because labels of one family multiply.

    Raises:
        ValueError: The label is invalid.
    """
    return counter(
        f"http_requests_by_{label}_total",
        f"HTTP requests answered, by {label}, matched URL rule and status code.",
        labels=(label, "endpoint", "status"),
        values={label: values},
    )


def _all(values: Values | None) -> dict[str, tuple[str, ...]]:
    return {label: tuple(known) for label, known in (values or {}).items()}
