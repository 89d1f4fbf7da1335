"""Prometheus metrics that stay true across worker processes."""
