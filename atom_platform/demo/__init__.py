"""Traffic for a service that has none yet, so that dashboards and alerts have something to show."""
