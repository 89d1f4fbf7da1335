"""The environment is read once, and a bad value is told by its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from atom_platform.settings import Settings, SettingsError


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environ({})

    assert settings.database_url == "sqlite:///var/atom.db"
    assert (settings.port, settings.workers, settings.threads) == (8000, 2, 4)
    assert settings.database_check_timeout_seconds == 5.0
    assert settings.disk_min_free_gb == 1.0
    assert settings.drain_seconds == 0
    assert settings.metrics_max_ids == 1000
    assert settings.http_allowed_hosts == ()


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files and manifests write `VARIABLE: ""` for what they leave open."""
    assert Settings.from_environ({"PORT": "", "ATOM_LOG_LEVEL": " "}) == Settings.from_environ({})


def test_valid_values_are_read() -> None:
    settings = Settings.from_environ(
        {
            "PORT": "9000",
            "ATOM_LOG_LEVEL": "debug",
            "ATOM_LOG_LEVELS": "sqlalchemy=WARNING, urllib3=error",
            "ATOM_HTTP_ALLOWED_HOSTS": "Example.com, [::1]:8080",
            "PROMETHEUS_MULTIPROC_DIR": "/run/metrics",
            "DATABASE_URL": "postgres://u:p@db:5432/atom",
        }
    )

    assert settings.port == 9000
    assert settings.log_level == "DEBUG"
    assert settings.log_levels == {"sqlalchemy": "WARNING", "urllib3": "ERROR"}
    assert settings.http_allowed_hosts == ("example.com", "[::1]:8080")
    assert settings.metrics_directory == Path("/run/metrics")
    assert settings.database_url == "postgres://u:p@db:5432/atom"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "8000x"),
        ("PORT", "٨٠٠٠"),
        ("WEB_CONCURRENCY", "0"),
        ("ATOM_DRAIN_SECONDS", "-1"),
        ("ATOM_DRAIN_SECONDS", "nan"),
        ("ATOM_DISK_MIN_FREE_GB", "inf"),
        ("ATOM_LOG_LEVEL", "LOUD"),
        ("ATOM_LOG_LEVELS", "sqlalchemy"),
        ("ATOM_LOG_LEVELS", "=INFO"),
        ("ATOM_LOG_FORMAT", "xml"),
        ("ATOM_LOG_ACCESS_SAMPLE", "1.5"),
        ("DATABASE_URL", "mysql://root:hunter2@db/atom"),
        ("DATABASE_URL", "postgresql://db:port/atom"),
        ("DATABASE_URL", "postgresql://db:5432,standby:port/atom"),
        ("ATOM_HTTP_ALLOWED_HOSTS", "https://example.com/"),
        ("ATOM_SMTP_URL", "localhost:25"),
        ("ATOM_SMTP_FROM", "a b@c"),
        ("ATOM_REVISION", 'x"y'),
        ("ATOM_METRICS_TOKEN", "hunter2-hunter2"),  # 15
        ("ATOM_METRICS_TOKEN", "hunter2 " * 4),
        ("ATOM_METRICS_TOKEN", "hunter2ä" * 4),
        ("ATOM_METRICS_TOKEN", "hunter2-" * 129),
        ("ATOM_METRICS_TOKEN_FILE", "/nowhere/hunter2"),
        ("ATOM_METRICS_TOKEN_FILE", "/dev/zero"),
        ("ATOM_MANAGEMENT_PORT", "0"),
    ],
)
def test_an_invalid_value_names_the_variable_and_hides_the_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} must be ") as raised:
        Settings.from_environ({variable: value})

    text = str(raised.value)
    assert "\n" not in text
    assert "hunter2" not in text
    assert raised.value.__cause__ is None


def test_a_database_may_have_several_hosts() -> None:
    url = "postgresql://u:p@db:5432,[::1]:5433,standby/atom"

    assert Settings.from_environ({"DATABASE_URL": url}).database_url == url


TOKEN = "hush-hush-16-char"


def test_printing_a_token_hides_it() -> None:
    settings = Settings.from_environ({"ATOM_METRICS_TOKEN": TOKEN})

    assert settings.metrics_token is not None
    assert settings.metrics_token.value == TOKEN
    assert TOKEN not in f"{settings} {settings.metrics_token} {settings.metrics_token!r}"


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n")

    settings = Settings.from_environ({"ATOM_METRICS_TOKEN_FILE": str(file)})

    assert settings.metrics_token is not None
    assert settings.metrics_token.value == TOKEN


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 20, TOKEN.encode() + b"\n" + b"x" * 9]
)
def test_a_file_without_a_token_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match=r"^ATOM_METRICS_TOKEN_FILE must be .* 16 to 1024"):
        Settings.from_environ({"ATOM_METRICS_TOKEN_FILE": str(file)})


def test_a_token_and_a_token_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    both = {"ATOM_METRICS_TOKEN": TOKEN, "ATOM_METRICS_TOKEN_FILE": str(file)}

    with pytest.raises(SettingsError, match=r"^ATOM_METRICS_TOKEN_FILE must be unset"):
        Settings.from_environ(both)
