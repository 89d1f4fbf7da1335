"""What runs inside gunicorn: its hooks and the worker class."""
