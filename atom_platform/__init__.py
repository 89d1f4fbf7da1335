"""
The ATOM platform: agents run skills, and operators are told honestly how it goes.

This file imports nothing: gunicorn's configuration imports the package before the
metrics directory exists, and whatever is imported here would be imported too early.
"""

__version__ = "0.1.0"
