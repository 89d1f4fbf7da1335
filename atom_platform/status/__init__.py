"""The status page: how the service is doing, in a browser."""
