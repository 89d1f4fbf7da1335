"""One check per file: a function or class that makes a `Check`, to be registered by name."""
