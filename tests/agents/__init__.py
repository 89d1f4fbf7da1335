"""Agents, from their tables to their HTTP API."""
