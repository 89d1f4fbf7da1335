"""An empty gunicorn configuration, named on the command line so that ours is not loaded."""
