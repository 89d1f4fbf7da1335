"""The command `doctor`: finds errors of a service or its manifests, and says what to do."""
