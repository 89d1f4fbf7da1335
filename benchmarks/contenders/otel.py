"""OpenTelemetry's Flask instrumentation with its metrics SDK; per process, and no line."""

from __future__ import annotations

from flask import Flask
from opentelemetry.exporter.prometheus import (  # type: ignore[import-not-found,unused-ignore]
    PrometheusMetricReader,
)
from opentelemetry.instrumentation.flask import (  # type: ignore[import-not-found,unused-ignore]
    FlaskInstrumentor,
)
from opentelemetry.sdk.metrics import (  # type: ignore[import-not-found,unused-ignore]
    MeterProvider,
)

from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = Flask(__name__, static_folder=None)
FlaskInstrumentor().instrument_app(
    app, meter_provider=MeterProvider(metric_readers=[PrometheusMetricReader()])
)
add_liveness(add_routes(app))
