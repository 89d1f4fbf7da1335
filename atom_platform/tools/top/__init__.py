"""The status of a service in a terminal: `python -m atom_platform top`."""
