"""Columns that several tables have."""

from __future__ import annotations

from typing import Final

__all__ = ["LATENCIES"]

LATENCIES: Final = ("p50_ms", "p95_ms", "p99_ms", "rps", "failed")
