"""Structured logs: one JSON object a line."""
