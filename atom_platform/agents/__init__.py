"""Agents: stored lists of skill steps, and the running of them."""
