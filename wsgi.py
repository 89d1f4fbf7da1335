"""The WSGI entry point: `gunicorn wsgi:app`."""

from atom_platform.app import create_app

app = create_app()
