"""
The command line: `atom-platform COMMAND`, or `python -m atom_platform COMMAND`.

A command's module is imported only when the command runs or shows its help. Containers run `probe`
every few seconds, and on a throttled CPU each import is slow.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click

__all__ = ["COMMANDS", "main"]

PROGRAM: Final = "atom-platform"

#: Command: where it is defined (`module:attribute`), and its line in `atom-platform --help`.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "probe": ("probe:command", "ask the service, or drain it, from inside its container"),
    "migrate": ("deployment:migrate", "bring the database's schema up to date"),
    "doctor": ("doctor.command:command", "find errors, and say what to do about them"),
    "settings": ("deployment:settings", "check the settings, and show them without secrets"),
    "demo-load": ("demo_load:command", "send traffic to a service for a demonstration"),
    "top": ("top:command", "watch a service in a terminal"),
    "gunicorn-config": (
        "deployment:gunicorn_config",
        "print a gunicorn.conf.py for your application",
    ),
    "log-level": ("log_level:command", "change what a running service logs, without a restart"),
}


class LazyGroup(click.Group):
    """Finds a command in `COMMANDS` and imports its module only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(f"atom_platform.tools.{module}"), attribute)
        assert isinstance(found, click.Command)  # noqa: S101 — a wrong row of the table
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each command has more in its own --help. Settings come from the environment.",
)
@click.pass_context
def group(context: click.Context) -> None:
    """Commands beside the service: probes, migration, diagnosis."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit status.

    Args:
        arguments: The command and its arguments; those of the process by default.

    Returns:
        What the command returns; 2 for a wrong command line or a package that is not installed.
    """
    try:
        status = group.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "atom_platform").partition(".")[0]
        if package == "atom_platform":
            raise
        click.echo(
            f"{PROGRAM}: this needs {package}: pip install 'atom-platform[platform]'", err=True
        )
        return 2
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
