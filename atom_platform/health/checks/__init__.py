"""One check, one file: a function that returns a `Check`. `app.py` registers it."""
