"""
What runs inside gunicorn: its hooks and the worker class.

Imported by gunicorn's configuration, so nothing here may import more than the standard library.
"""

from atom_platform.server.defaults import gunicorn_defaults

__all__ = ["gunicorn_defaults"]
