"""
Changes the log level of a running service, in all its processes and without a restart.

    log-level DEBUG --for 600            everything, for ten minutes
    log-level DEBUG --logger sqlalchemy  one logger, until it is reset
    log-level reset                      as the service was started

Through a file beside the service's run file: only its own user can write there, so that there is no
endpoint to protect. Each process looks at it about once a second.
"""

from __future__ import annotations

import argparse
import os
import time

from atom_platform.logs.levels import Levels, LevelsFile
from atom_platform.server import pidfile

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Do what *argv* says, print one line about it, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m atom_platform log-level",
        description="Change the log level of a running service.",
    )
    parser.add_argument("level", help="DEBUG, INFO, WARNING, ERROR, CRITICAL, or reset")
    parser.add_argument("--logger", help="only this logger and those below it")
    parser.add_argument("--for", dest="seconds", type=float, help="seconds until it ends by itself")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    options = parser.parse_args(argv)
    if pidfile.find(options.port) is None:
        print(f"log-level: no service of this user on port {options.port}")
        return 1
    file = LevelsFile(pidfile.levels_path(options.port))
    level = options.level.upper()
    try:
        if level == "RESET":
            file.clear()
        else:
            until = None if options.seconds is None else time.time() + options.seconds
            one = {options.logger: level} if options.logger else {}
            file.write(Levels(None if one else level, one, until))
    except (OSError, ValueError) as error:
        print(f"log-level: {error}")
        return 1
    print(f"log-level: {level.lower() if level == 'RESET' else level}")
    return 0
