"""Health probes: the checks, the prober that runs them, and the responses of the probes."""
