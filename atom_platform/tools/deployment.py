"""Commands of a deployment: `migrate`, `settings` and `gunicorn-config`."""

from __future__ import annotations

import click

__all__ = ["gunicorn_config", "migrate", "settings"]


@click.command()
def migrate() -> int:
    """
    Bring the database's schema up to date.

    Several replicas may run it at once: one does the work, and the others wait.

    The exit status is 0 when the schema is current, 1 when it is not, and 2 for a wrong setting.
    """
    from atom_platform.database.engine import open_database
    from atom_platform.database.errors import message_for
    from atom_platform.database.migrate import upgrade
    from atom_platform.logs import configure_structlog, get_logger
    from atom_platform.settings import Settings, SettingsError

    try:
        current = Settings.from_environ()
        configure_structlog(
            level=current.log_level, levels=current.log_levels, format=current.log_format
        )
        state = upgrade(open_database(current))
    except SettingsError as error:
        return _wrong_setting(error)
    except Exception as error:  # the driver's text may name hosts and users
        log = get_logger("atom_platform.database")
        log.critical("database_not_migrated", reason=message_for(error.__cause__ or error))
        return 1
    return 0 if state == "current" else 1


@click.command()
def settings() -> int:
    """
    Check the settings in the environment, and print each without its secrets.

    The exit status is 2 when the service would refuse a setting.
    """
    # `make run` calls this first: with a WEB_CONCURRENCY that is no number gunicorn ends in a
    # traceback before it reads our configuration.
    from dataclasses import fields

    from atom_platform.logs.redact import redact_text
    from atom_platform.settings import Settings, SettingsError

    try:
        current = Settings.from_environ()
    except SettingsError as error:
        return _wrong_setting(error)
    for each in fields(Settings):
        value = redact_text(str(getattr(current, each.name)))
        click.echo(f"{each.metadata['variable']}={value}")
    return 0


@click.command()
def gunicorn_config() -> int:
    """
    Print a gunicorn.conf.py for an application of your own.

    The exit status is 2 when the service would refuse a setting.
    """
    from atom_platform.server.config import configuration_file
    from atom_platform.settings import SettingsError

    try:
        click.echo(configuration_file(), nl=False)
    except SettingsError as error:
        return _wrong_setting(error)
    return 0


def _wrong_setting(error: Exception) -> int:
    click.echo(f"atom-platform: {error}", err=True)
    return 2
