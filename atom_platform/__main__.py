"""
Commands beside the service: `python -m atom_platform COMMAND`.

    probe live|ready|drain   ask the service, or drain it, from inside its container
    migrate                  bring the database's schema up to date
    doctor                   find out what is wrong, and say what to do
    settings                 check the settings, and show them without their secrets
    demo-load                make traffic, so that dashboards have something to show
    top [URL]                watch how a service is doing, in a terminal
    gunicorn-config          print a gunicorn.conf.py for an application of your own
    log-level LEVEL|reset    change what a running service logs, without a restart

Each command imports what it needs: a probe has to start fast on a throttled CPU.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the command that *arguments* name, and return the exit status."""
    try:
        return run(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("atom_platform"):
            raise
        print(
            f"atom-platform: this needs {error.name}: pip install 'atom-platform[platform]'",
            file=sys.stderr,
        )
        return 2


def run(arguments: list[str]) -> int:
    """Do what `main` does, as far as it is installed."""
    command, *rest = arguments or ["help"]
    if command == "probe":
        from atom_platform.server import probe

        return probe.main(rest)
    if command == "migrate":
        return migrate()
    if command == "settings":
        return show_settings()
    if command == "doctor":
        from atom_platform.doctor import main as doctor

        return doctor.main(rest)
    if command == "top":
        from atom_platform.top import main as top

        return top.main(rest)
    if command == "demo-load":
        from atom_platform.demo import load

        return load.main(rest)
    if command == "gunicorn-config":
        return print_gunicorn_config()
    if command == "log-level":
        from atom_platform.server import log_level

        return log_level.main(rest)
    print(__doc__, file=sys.stderr)
    return 0 if command in ("help", "--help", "-h") else 2


def migrate() -> int:
    """Apply what is missing of the schema; safe when several replicas start at once."""
    from atom_platform.database.engine import open_database
    from atom_platform.database.errors import message_for
    from atom_platform.database.migrate import upgrade
    from atom_platform.logs import configure_structlog, get_logger
    from atom_platform.settings import Settings, SettingsError

    try:
        settings = Settings.from_environ()
        configure_structlog(
            level=settings.log_level, levels=settings.log_levels, format=settings.log_format
        )
        state = upgrade(open_database(settings))
    except SettingsError as error:
        print(f"atom-platform: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # the operator's to mend; the driver's text may name hosts and users
        log = get_logger("atom_platform.database")
        log.critical("database_not_migrated", reason=message_for(error.__cause__ or error))
        return 1
    return 0 if state == "current" else 1


def print_gunicorn_config() -> int:
    """Print what an application of one's own needs as its gunicorn.conf.py."""
    from atom_platform.server.defaults import configuration_file
    from atom_platform.settings import SettingsError

    try:
        print(configuration_file(), end="")
    except SettingsError as error:
        print(f"atom-platform: {error}", file=sys.stderr)
        return 2
    return 0


def show_settings() -> int:
    """
    Print each setting as the service would take it.

    `make run` asks first: a WEB_CONCURRENCY that is no number ends gunicorn in a traceback, before
    our configuration is read.
    """
    from dataclasses import fields

    from atom_platform.logs.redact import redact_text
    from atom_platform.settings import Settings, SettingsError

    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        print(f"atom-platform: {error}", file=sys.stderr)
        return 2
    for each in fields(Settings):
        value = redact_text(str(getattr(settings, each.name)))
        print(f"{each.metadata['variable']}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
