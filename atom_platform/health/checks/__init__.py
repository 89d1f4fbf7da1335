"""One check, one file; a check is a callable that returns a CheckResult or raises."""
