"""Health probes: what a check is, who runs it, and what the probes answer."""
