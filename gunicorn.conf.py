"""
gunicorn's configuration: what `gunicorn wsgi:app` means without a flag.

A global named like a setting of gunicorn is that setting. The file runs again on SIGHUP: nothing is
kept in it. GUNICORN_CMD_ARGS and flags win over all of this.
"""

from atom_platform.server import gunicorn_defaults

globals().update(gunicorn_defaults(database=True))

proc_name = "atom-platform"
