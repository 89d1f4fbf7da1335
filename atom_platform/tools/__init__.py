"""Commands for operators: what `atom-platform` runs beside the service."""
