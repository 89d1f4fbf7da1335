"""Metrics under a storm of workers that come and go: `python -m benchmarks.soak`."""
