"""What another Flask application needs on top, to be monitored like the platform's own service."""
