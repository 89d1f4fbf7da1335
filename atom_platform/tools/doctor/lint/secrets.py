"""Secrets that are written out in a file, where everybody who reads it reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from atom_platform.logs.redact import is_secret, redact_text
from atom_platform.tools.doctor.finding import Finding, trouble, warning

__all__ = ["COMMAND_LINE", "check_plain_text"]

#: A name for what is no variable.
COMMAND_LINE = "A secret on the command line"

#: Values that only stand for one.
PLACEHOLDERS = ("${", "$(", "{{", "<")


def check_plain_text(
    area: str, values: Mapping[str, str], *, where: str, do: str
) -> Iterator[Finding]:
    """
    Yield each of *values*, by its variable, that should not be written out.

    Args:
        where: Where they are written, to complete the sentence "NAME is written out in …".
        do: Where they belong.
    """
    for name, value in values.items():
        if not value or value.startswith(PLACEHOLDERS) or _is_place(name, value):
            continue
        url = name == "DATABASE_URL"
        named = not url and name != COMMAND_LINE and "://" not in value and is_secret(name, value)
        if named or redact_text(value) != value:
            yield trouble(
                area,
                "secret-in-plain-text",
                f"{name} is written out in {where}",
                why="Whoever reads the file, its history or the running definition has the secret.",
                do=f"{do} Then replace it by another: this one is known.",
            )
        elif url and not _is_sqlite(value):
            yield warning(
                area,
                "database-url-in-plain-text",
                f"{name} is written out in {where}",
                why="It names host and user, and sooner or later somebody adds the password.",
                do=do,
            )


def _is_place(name: str, value: str) -> bool:
    """Whether *value* says where a mounted secret is: `POSTGRES_PASSWORD_FILE=/run/secrets/…`."""
    return name.endswith("_FILE") and value.startswith("/")


def _is_sqlite(value: str) -> bool:
    try:
        return urlsplit(value).scheme.startswith("sqlite")
    except ValueError:
        return False
