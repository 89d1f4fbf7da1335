"""gunicorn as it comes: named on the command line so that ours is not found and taken."""
