"""Metrics while workers are killed and restarted: `python -m benchmarks.soak`."""
