"""
`log-level`: changes the log level of a running service, in all its processes, without a restart.

It writes a file beside the service's pid file, where only the service's own user can write; so no
endpoint needs protection. Each process reads the file about once a second.
"""

from __future__ import annotations

import time

import click

from atom_platform.logs.levels import Levels, LevelsFile
from atom_platform.server import pidfile

__all__ = ["command"]


@click.command(name="log-level")
@click.argument("level")
@click.option("--logger", help="Only this logger and those below it.")
@click.option("--for", "seconds", type=float, help="Seconds until the change ends by itself.")
@click.option(
    "--port",
    type=int,
    envvar="PORT",
    default=8000,
    show_envvar=True,
    show_default=True,
    help="TCP port of the service.",
)
def command(level: str, logger: str | None, seconds: float | None, port: int) -> int:
    """
    Change the log level of a running service.

    LEVEL is DEBUG, INFO, WARNING, ERROR, CRITICAL, or reset.

    \b
    log-level DEBUG --for 600            everything, for ten minutes
    log-level DEBUG --logger sqlalchemy  one logger, until it is reset
    log-level reset                      as the service was started
    """
    if pidfile.find(port) is None:
        click.echo(f"log-level: no service of this user on port {port}")
        return 1
    file = LevelsFile(pidfile.levels_path(port))
    level = level.upper()
    try:
        if level == "RESET":
            file.clear()
        else:
            until = None if seconds is None else time.time() + seconds
            one = {logger: level} if logger else {}
            file.write(Levels(None if one else level, one, until))
    except (OSError, ValueError) as error:
        click.echo(f"log-level: {error}")
        return 1
    click.echo(f"log-level: {level.lower() if level == 'RESET' else level}")
    return 0
