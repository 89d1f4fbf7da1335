"""What a Flask extension does for `Monitoring`: middleware, request record, probe dispatch."""
